// Frames of uint8 pixels -> normalised patches in merge order, resized on the way as PIL does (bicubic, antialiased,
// rounded to uint8 after each axis): the fixed-point arithmetic and the order of the axes are those of Pillow 13, so
// that the pixels are equal to the bit.
#include "../math/bicubic.h"
#include "../math/merge_order.h"
#include "kernels.h"
#include "scratch.h"
#include "simd.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

constexpr int kPatch = 14;
constexpr int kBand = 2 * kPatch;  // output rows at a time: one row of merge blocks
constexpr int kFractionBits = 22;  // of a tap's weight: 32 less 8 for the pixel and 2 for overshoot

uint8_t clamp_pixel(int32_t fixed) {
  if (fixed >= (256 << kFractionBits)) return 255;
  return fixed <= 0 ? 0 : static_cast<uint8_t>(fixed >> kFractionBits);
}

// The taps of one axis: output i reads count[i] pixels from first[i] on, with weights [i * width, ...).
struct Axis {
  Axis(int64_t from, int64_t to)
      : scale(static_cast<double>(from) / static_cast<double>(to)),
        support(2.0 * (scale > 1.0 ? scale : 1.0)),
        width(2 * static_cast<int64_t>(std::ceil(support)) + 1),
        first(to),
        count(to),
        weight(to * width) {
    Scratch<double> taps(width);
    for (int64_t i = 0; i < to; ++i) {
      const double center = (static_cast<double>(i) + 0.5) * scale;
      const int64_t low = static_cast<int64_t>(center - support + 0.5);
      const int64_t high = static_cast<int64_t>(center + support + 0.5);
      first[i] = low < 0 ? 0 : low;
      count[i] = (high > from ? from : high) - first[i];
      double total = 0;
      for (int64_t k = 0; k < count[i]; ++k) {
        const double distance = static_cast<double>(k + first[i]) - center + 0.5;
        total += taps[k] = cubic(distance / (scale > 1.0 ? scale : 1.0), -0.5);
      }
      for (int64_t k = 0; k < count[i]; ++k) {
        const double fixed = taps[k] / total * (1 << kFractionBits);
        weight[i * width + k] = static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
      }
    }
  }

  double scale, support;
  int64_t width;
  Scratch<int64_t> first, count;
  Scratch<int32_t> weight;
};

using Pixel = int32_t __attribute__((vector_size(16)));  // red, green, blue and a fourth lane nobody reads

inline Pixel load_pixel(const uint8_t* p) {
  uint8_t bytes[4] = {p[0], p[1], p[2], 0};
  using Bytes = uint8_t __attribute__((vector_size(4)));
  Bytes v;
  __builtin_memcpy(&v, bytes, 4);
  return __builtin_convertvector(v, Pixel);
}

void resize_across(const uint8_t* row, Axis& axis, int64_t width, uint8_t* out) {
  for (int64_t x = 0; x < width; ++x) {
    Pixel sum = Pixel{} + (1 << (kFractionBits - 1));
    const int32_t* weight = &axis.weight[x * axis.width];
    const uint8_t* from = row + 3 * axis.first[x];
    for (int64_t k = 0; k < axis.count[x]; ++k) sum += load_pixel(from + 3 * k) * weight[k];
    for (int c = 0; c < 3; ++c) out[3 * x + c] = clamp_pixel(sum[c]);
  }
}

// `rows` holds rows from input row `top` on, `bytes` bytes each.
void resize_down(const uint8_t* rows, int64_t top, Axis& axis, int64_t y, int64_t bytes, uint8_t* out) {
  const int32_t* weight = &axis.weight[y * axis.width];
  const uint8_t* from = rows + (axis.first[y] - top) * bytes;
  constexpr int kLanes = 4 * W;
  int32_t sum[kLanes];
  for (int64_t start = 0; start < bytes; start += kLanes) {
    const int n = static_cast<int>(bytes - start < kLanes ? bytes - start : kLanes);
    for (int i = 0; i < kLanes; ++i) sum[i] = 1 << (kFractionBits - 1);
    for (int64_t k = 0; k < axis.count[y]; ++k) {
      const uint8_t* line = from + k * bytes + start;
      if (n == kLanes)
        for (int i = 0; i < kLanes; ++i) sum[i] += line[i] * weight[k];
      else
        for (int i = 0; i < n; ++i) sum[i] += line[i] * weight[k];
    }
    for (int i = 0; i < n; ++i) out[start + i] = clamp_pixel(sum[i]);
  }
}

// What a channel's 256 pixel values become, in the patches' type.
template <typename T>
struct Values {
  explicit Values(const Patchify& a) {
    for (int c = 0; c < 3; ++c)
      for (int v = 0; v < 256; v += W) {
        F32 x;
        for (int i = 0; i < W; ++i) x[i] = static_cast<float>(v + i);
        store(of[c] + v, x * a.scale[c] + a.shift[c]);
      }
  }
  T of[3][256];
};

// One row of pixels into the patches it crosses; `out` is the row's place in the first patch of its frame.
template <typename T>
void scatter_row(const uint8_t* pixels, const Values<T>& values, int64_t patch_row, int64_t columns, int span, T* out) {
  const int64_t patch_size = int64_t{3} * span * kPatch * kPatch, channel_size = int64_t{span} * kPatch * kPatch;
  for (int64_t column = 0; column < columns; ++column) {
    T* patch = out + merge_place(patch_row, column, columns) * patch_size;
    const uint8_t* from = pixels + 3 * kPatch * column;
    for (int c = 0; c < 3; ++c)
      for (int i = 0; i < kPatch; ++i) patch[c * channel_size + i] = values.of[c][from[3 * i + c]];
  }
}

// Pillow 13 (its pull request 9549) resizes the height first where it loses more than twice the pixels the width loses.
bool height_first(const Patchify& a) {
  const int64_t rows_lost = a.height - a.out_height, columns_lost = a.width - a.out_width;
  return rows_lost > 2 * (columns_lost > 0 ? columns_lost : 0);
}

template <typename T>
void patchify_as(const Patchify& a) {
  const bool resizes = a.height != a.out_height || a.width != a.out_width, down_first = height_first(a);
  Axis across(resizes ? a.width : 1, resizes ? a.out_width : 1);
  Axis down(resizes ? a.height : 1, resizes ? a.out_height : 1);
  const Values<T> values(a);
  const int64_t times = (a.frame_count + a.span - 1) / a.span;
  const int64_t bands = a.out_height / kBand, columns = a.out_width / kPatch, bytes = 3 * a.out_width;
  const int64_t frame_patches = a.out_height / kPatch * columns, patch_size = int64_t{3} * a.span * kPatch * kPatch;

  parallel_for(times * bands, times * a.span * a.out_height * a.out_width * 8, [&](int64_t index) {
    const int64_t time = index / bands, y0 = index % bands * kBand;
    const int64_t top = resizes ? down.first[y0] : 0;
    const int64_t bottom = resizes ? down.first[y0 + kBand - 1] + down.count[y0 + kBand - 1] : 0;
    Scratch<uint8_t> rows(down_first ? 3 * a.width : (bottom - top) * bytes), line(bytes);
    T* out = static_cast<T*>(a.out) + time * frame_patches * patch_size;
    for (int f = 0; f < a.span; ++f) {
      const int64_t number = time * a.span + f;  // an odd count repeats the last frame
      const uint8_t* frame = a.frames + (number < a.frame_count ? number : a.frame_count - 1) * a.height * a.width * 3;
      for (int64_t y = top; y < bottom && !down_first; ++y)
        resize_across(frame + y * a.width * 3, across, a.out_width, rows.get() + (y - top) * bytes);
      for (int64_t y = y0; y < y0 + kBand; ++y) {
        const uint8_t* pixels = resizes ? line.get() : frame + y * bytes;
        if (down_first) {
          resize_down(frame, 0, down, y, 3 * a.width, rows.get());
          resize_across(rows.get(), across, a.out_width, line.get());
        } else if (resizes) {
          resize_down(rows.get(), top, down, y, bytes, line.get());
        }
        T* place = out + (f * kPatch + y % kPatch) * kPatch;
        scatter_row(pixels, values, y / kPatch, columns, a.span, place);
      }
    }
  });
}

}  // namespace

void patchify(const Patchify& a) { a.dtype == DType::f32 ? patchify_as<float>(a) : patchify_as<bf16>(a); }

}  // namespace glm4v::GLM4V_ISA
