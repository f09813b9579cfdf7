// Frames of uint8 pixels -> normalised patches in merge order, resized on the way as PIL does (bicubic, antialiased,
// rounded to uint8 after each axis): the fixed-point arithmetic and the order of the axes are those of Pillow 13, so
// that the pixels are equal to the bit.
#include "../math/bicubic.h"
#include "kernels.h"
#include "scratch.h"
#include "simd.h"
#include "threads.h"

namespace glm4v::GLM4V_ISA {
namespace {

constexpr int kPatch = 14;
constexpr int kBand = 2 * kPatch;  // output rows at a time: one row of merge blocks

constexpr int kPixels = W / 4;  // in a vector, four channels each: 1, 2 or 4, of which every patch has whole ones

// The taps of one axis: output i reads count[i] pixels from first[i] on, with weights [i * width, ...), 0 past them up
// to a whole vector of pixels.
struct Axis {
  Axis(int64_t from, int64_t to)
      : width(round_up(resize_width(from, to), kPixels)), first(to), count(to), weight(to * width + W) {
    Scratch<double> taps(width);
    for (int64_t i = 0; i < to; ++i) {
      const Reach reach = resize_reach(i, from, to);
      first[i] = reach.first;
      count[i] = reach.count;
      double total = 0;
      for (int64_t k = 0; k < reach.count; ++k) total += taps[k] = resize_tap(reach, k);
      for (int64_t k = 0; k < reach.count; ++k) weight[i * width + k] = fixed_weight(taps[k], total);
      for (int64_t k = reach.count; k < width; ++k) weight[i * width + k] = 0;
    }
  }

  int64_t width;
  Scratch<int64_t> first, count;
  Scratch<int32_t> weight;
};

inline I32 clamp_pixels(I32 fixed) {
  const I32 pixels = fixed >> kFractionBits, none = I32{}, most = none + 255;
  return pixels < none ? none : (pixels > most ? most : pixels);
}

// a and b consist of groups of kLanes numbers: the sums of the two halves of each, a's first.
template <int kLanes>
inline I32 fold(I32 a, I32 b) {
  constexpr int kHalf = kLanes / 2;
  const I32 low = lanes() / kHalf * kLanes + lanes() % kHalf;
  return __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, low + kHalf);
}

// Four pixels of three bytes to four bytes each, the fourth of which may be anything; reads 16 bytes.
inline void widen_four_pixels(const uint8_t* p, uint8_t* out) {
  using Bytes = uint8_t __attribute__((vector_size(16)));
  Bytes bytes;
  __builtin_memcpy(&bytes, p, sizeof bytes);
  bytes = __builtin_shuffle(bytes, Bytes{0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11});
  __builtin_memcpy(out, &bytes, sizeof bytes);
}

// kPixels pixels of four numbers from 0 to 255 each, but for the fourth, to three bytes each; kPixels bytes more are
// written.
inline void store_pixels(uint8_t* p, I32 v) {
  U8 order;
  for (int i = 0; i < W; ++i) order[i] = static_cast<uint8_t>(i / 3 * 4 % W + i % 3);
  uint8_t bytes[W];
  store_bytes(bytes, v, W);
  U8 packed;
  __builtin_memcpy(&packed, bytes, W);
  packed = __builtin_shuffle(packed, order);
  __builtin_memcpy(p, &packed, W);
}

// Three bytes a pixel to four, so that a vector holds whole pixels; the fourth may be anything.
void widen_pixels(const uint8_t* row, int64_t width, uint8_t* out) {
  int64_t x = 0;
  for (; x + 6 <= width; x += 4) widen_four_pixels(row + 3 * x, out + 4 * x);
  for (; x < width; ++x)
    for (int c = 0; c < 3; ++c) out[4 * x + c] = row[3 * x + c];
}

// The pixels that output x is made of, weighted, as sums of every kPixels-th of them.
inline I32 weigh(const uint8_t* row, Axis& axis, int64_t x) {
  const int32_t* const weight = &axis.weight[x * axis.width];
  const uint8_t* const from = row + 4 * axis.first[x];
  I32 sum{};
  for (int64_t k = 0; k < axis.count[x]; k += kPixels) {
    I32 taps;
    __builtin_memcpy(&taps, weight + k, sizeof taps);
    sum += load_bytes(from + 4 * k) * __builtin_shuffle(taps, lanes() >> 2);
  }
  return sum;
}

// kPixels outputs from x on, side by side.
inline I32 weigh_all(const uint8_t* row, Axis& axis, int64_t x) {
  if constexpr (kPixels == 1) return weigh(row, axis, x);
  const I32 first = fold<W>(weigh(row, axis, x), weigh(row, axis, x + 1));
  if constexpr (kPixels == 2) return first;
  return fold<W / 2>(first, fold<W>(weigh(row, axis, x + 2), weigh(row, axis, x + 3)));
}

// `row`: four bytes a pixel, readable for a vector beyond its end; `out`: three bytes a pixel, and kPixels bytes more
// are written.
void resize_across(const uint8_t* row, Axis& axis, int64_t width, uint8_t* out) {
  for (int64_t x = 0; x < width; x += kPixels)
    store_pixels(out + 3 * x, clamp_pixels(weigh_all(row, axis, x) + (1 << (kFractionBits - 1))));
}

// `rows` holds rows from input row `top` on, `bytes` bytes each.
void resize_down(const uint8_t* rows, int64_t top, Axis& axis, int64_t y, int64_t bytes, uint8_t* out) {
  const int32_t* const weight = &axis.weight[y * axis.width];
  const uint8_t* const from = rows + (axis.first[y] - top) * bytes;
  for_vectors(bytes, [&](int64_t i, int n) {
    I32 sum = I32{} + (1 << (kFractionBits - 1));
    for (int64_t k = 0; k < axis.count[y]; ++k) sum += load_bytes(from + k * bytes + i, n) * weight[k];
    store_bytes(out + i, clamp_pixels(sum), n);
  });
}

// Pixels of a row to three planes of `stride` bytes.
void split_channels(const uint8_t* pixels, int64_t width, int64_t stride, uint8_t* planes) {
  uint8_t *red = planes, *green = planes + stride, *blue = planes + 2 * stride;
  for (int64_t x = 0; x < width; ++x) {
    red[x] = pixels[3 * x];
    green[x] = pixels[3 * x + 1];
    blue[x] = pixels[3 * x + 2];
  }
}

// The rows of a band, one frame after the other, each as three planes that reach W bytes beyond the width.
struct Band {
  Band(const Patchify& a) : stride(a.out_width + W), planes(a.span * kBand * 3 * stride) {}

  uint8_t* row(int frame, int64_t y) { return planes.get() + (frame * kBand + y) * 3 * stride; }

  int64_t stride;
  Scratch<uint8_t> planes;
};

// One row of a patch. kWhole: whole vectors are stored, up to W - 1 values beyond the row.
template <bool kWhole, typename T>
inline void write_row(const uint8_t* pixels, F32 scale, F32 shift, T* out) {
#pragma GCC unroll 4
  for (int j = 0; j < kPatch; j += W) {
    const F32 x = __builtin_convertvector(load_bytes(pixels + j), F32) * scale + shift;
    if (kWhole || j + W <= kPatch)
      store(out + j, x);
    else
      store(out + j, x, kPatch - j);
  }
}

// The patches of a band, which lie one after the other, from first to last: a vector may then reach into values that
// are still to be written, but for the last row of each channel.
template <typename T>
void write_patches(const Patchify& a, Band& band, T* out) {
  for (int64_t block = 0; block < a.out_width / kPatch; block += 2)
    for (int place = 0; place < 4; ++place)
      for (int c = 0; c < 3; ++c) {
        const F32 scale = set1(a.scale[c]), shift = set1(a.shift[c]);
        for (int f = 0; f < a.span; ++f) {
          const uint8_t* from = band.row(f, place / 2 * kPatch) + c * band.stride + (block + place % 2) * kPatch;
#pragma GCC unroll 1
          for (int i = 1; i < kPatch; ++i, from += 3 * band.stride, out += kPatch)
            write_row<true>(from, scale, shift, out);
          write_row<false>(from, scale, shift, out);
          out += kPatch;
        }
      }
}

template <typename T>
void patchify_as(const Patchify& a) {
  const bool resizes = a.height != a.out_height || a.width != a.out_width;
  const bool down_first = height_first(a.height, a.width, a.out_height, a.out_width);
  Axis across(resizes ? a.width : 1, resizes ? a.out_width : 1);
  Axis down(resizes ? a.height : 1, resizes ? a.out_height : 1);
  const int64_t times = (a.frame_count + a.span - 1) / a.span;
  const int64_t bands = a.out_height / kBand, columns = a.out_width / kPatch, bytes = 3 * a.out_width;
  const int64_t patch_size = int64_t{3} * a.span * kPatch * kPatch;

  parallel_for(times * bands, times * a.span * a.out_height * a.out_width * 8, [&](int64_t index) {
    const int64_t time = index / bands, y0 = index % bands * kBand;
    const int64_t top = resizes ? down.first[y0] : 0;
    const int64_t bottom = resizes ? down.first[y0 + kBand - 1] + down.count[y0 + kBand - 1] : 0;
    Scratch<uint8_t> rows((down_first ? 3 * a.width : (bottom - top) * bytes) + kPixels), line(bytes + kPixels);
    Scratch<uint8_t> wide(4 * a.width + W);
    Band band(a);
    for (int f = 0; f < a.span; ++f) {
      const int64_t number = time * a.span + f;  // an odd count repeats the last frame
      const uint8_t* frame = a.frames + (number < a.frame_count ? number : a.frame_count - 1) * a.height * a.width * 3;
      const auto across_row = [&](const uint8_t* row, uint8_t* resized) {
        widen_pixels(row, a.width, wide.get());
        resize_across(wide.get(), across, a.out_width, resized);
      };
      for (int64_t y = top; y < bottom && !down_first; ++y)
        across_row(frame + y * a.width * 3, rows.get() + (y - top) * bytes);
      for (int64_t y = y0; y < y0 + kBand; ++y) {
        const uint8_t* pixels = resizes ? line.get() : frame + y * bytes;
        if (down_first) {
          resize_down(frame, 0, down, y, 3 * a.width, rows.get());
          across_row(rows.get(), line.get());
        } else if (resizes) {
          resize_down(rows.get(), top, down, y, bytes, line.get());
        }
        split_channels(pixels, a.out_width, band.stride, band.row(f, y - y0));
      }
    }
    const int64_t row = time * (a.out_height / kPatch) + y0 / kPatch;  // of patches
    write_patches(a, band, static_cast<T*>(a.out) + row * columns * patch_size);
  });
}

}  // namespace

void patchify(const Patchify& a) { a.dtype == DType::f32 ? patchify_as<float>(a) : patchify_as<bf16>(a); }

}  // namespace glm4v::GLM4V_ISA
