// Frames of uint8 pixels -> normalised patches in merge order. Images of another size are resized first, one axis at a
// time into scratch memory, in the fixed-point arithmetic and order of Pillow 13: the pixels are equal to the bit.
#include "../math/bicubic.h"
#include "device.h"

namespace glm4v::cuda {
namespace {

constexpr int kPatch = 14;

// One axis of uint8 [outer, from, inner] becomes [outer, to, inner].
struct ResizeStep {
  int64_t outer, from, to, inner;
  int64_t taps_at, out_at;  // bytes into the scratch memory
  const uint8_t* in;
  uint8_t* out;
  int32_t* taps;  // first [to], count [to], weights [width, to]

  int64_t taps_bytes() const { return round_up((2 + resize_width(from, to)) * to * 4, 16); }
  int64_t out_bytes() const { return round_up(outer * to * inner, 16); }
};

struct Resizing {
  ResizeStep step[2];
  int steps = 0;
  int64_t bytes = 0;
};

Resizing plan(const Patchify& a) {
  Resizing plan;
  const auto add = [&](int64_t outer, int64_t from, int64_t to, int64_t inner) {
    if (from == to) return;
    ResizeStep& step = plan.step[plan.steps++];
    step = {outer, from, to, inner, plan.bytes, 0, nullptr, nullptr, nullptr};
    step.out_at = step.taps_at + step.taps_bytes();
    plan.bytes = step.out_at + step.out_bytes();
  };
  if (height_first(a.height, a.width, a.out_height, a.out_width)) {
    add(a.frame_count, a.height, a.out_height, 3 * a.width);
    add(a.frame_count * a.out_height, a.width, a.out_width, 3);
  } else {
    add(a.frame_count * a.height, a.width, a.out_width, 3);
    add(a.frame_count, a.height, a.out_height, 3 * a.out_width);
  }
  return plan;
}

// A thread has the taps of one output; it adds them up in the CPU's order.
struct FindTaps {
  static constexpr int kThreads = 64, kMinBlocks = 4, kRegisters = 64, kArch = 80;

  static DEVICE void run(const ResizeStep& a) {
    const int64_t i = block_index().x * kThreads + thread_index();
    if (i >= a.to) return;
    const Reach reach = resize_reach(i, a.from, a.to);
    double total = 0;
    for (int64_t k = 0; k < reach.count; ++k) total += resize_tap(reach, k);
    a.taps[i] = static_cast<int32_t>(reach.first);
    a.taps[a.to + i] = static_cast<int32_t>(reach.count);
    for (int64_t k = 0; k < reach.count; ++k) a.taps[(2 + k) * a.to + i] = fixed_weight(resize_tap(reach, k), total);
  }
};

// A thread has N neighbouring bytes of one output: a pixel, or a word where they lie so.
template <int N>
struct Resize {
  static constexpr int kThreads = 256, kMinBlocks = 4, kRegisters = 48, kArch = 80;

  GLM4V_SHARED int64_t pieces(const ResizeStep& a) { return (a.to * a.inner / N + kThreads - 1) / kThreads; }

  static DEVICE void run(const ResizeStep& a) {
    const int64_t outer = block_index().x / pieces(a), piece = block_index().x % pieces(a);
    const int64_t item = (piece * kThreads + thread_index()) * N, y = item / a.inner;
    if (y >= a.to) return;
    const int first = a.taps[y], count = a.taps[a.to + y];
    const uint8_t* from = a.in + (outer * a.from + first) * a.inner + item % a.inner;
    int32_t sum[N];
    for (int j = 0; j < N; ++j) sum[j] = 1 << (kFractionBits - 1);
#pragma unroll 4
    for (int k = 0; k < count; ++k, from += a.inner) {
      const int32_t weight = a.taps[(2 + k) * a.to + y];
      uint32_t pixel[N];
      bytes(pixel, from);
      for (int j = 0; j < N; ++j) sum[j] += weight * static_cast<int32_t>(pixel[j]);
    }
    uint8_t* const out = a.out + outer * a.to * a.inner + item;
    uint32_t pixel[N];
    for (int j = 0; j < N; ++j) {
      const int32_t value = sum[j] >> kFractionBits;
      pixel[j] = static_cast<uint32_t>(value < 0 ? 0 : value > 255 ? 255 : value);
    }
    if constexpr (N == 4) {
      write<4>(out, Word<4>{{pixel[0] | pixel[1] << 8 | pixel[2] << 16 | pixel[3] << 24}});
    } else {
      for (int j = 0; j < N; ++j) out[j] = static_cast<uint8_t>(pixel[j]);
    }
  }

  static DEVICE void bytes(uint32_t (&pixel)[N], const uint8_t* from) {
    if constexpr (N == 4) {
      const uint32_t word = read_constant<4>(from).part[0];
      for (int j = 0; j < N; ++j) pixel[j] = word >> (8 * j) & 0xff;
    } else {
      for (int j = 0; j < N; ++j) pixel[j] = from[j];
    }
  }
};

struct Pixels {
  Patchify to;
  const uint8_t* frames;  // [frame_count, out_height, out_width, 3]
};

// A block has one merge block of 2 x 2 patches: its pixels go to shared memory, its patches are written in a row.
template <typename T, int N, int kSpan>
struct WritePatches {
  static constexpr int kThreads = 128, kMinBlocks = N == 1 ? 8 : 16, kRegisters = 512 / kMinBlocks, kArch = 80;
  static constexpr int kSide = 2 * kPatch, kRowBytes = 3 * kSide, kFrameBytes = kSide * kRowBytes;
  static constexpr int kBytes = kSpan * kFrameBytes;
  static constexpr int kAhead = 5;  // words of a thread that are under way: all of them where kSpan is 1

  static DEVICE void run(const Pixels& a) {
    // numbers of blocks fit into 32 bits, in which divisions are short
    const uint32_t across = static_cast<uint32_t>(a.to.out_width) / kSide;
    const uint32_t of_frame = static_cast<uint32_t>(a.to.out_height) / kSide * across;
    const uint32_t index = static_cast<uint32_t>(block_index().x), block = index % of_frame;
    const int64_t time = index / of_frame, row_bytes = 3 * a.to.out_width;
    const uint8_t* const corner = a.frames + block / across * kSide * row_bytes + block % across * kRowBytes;
    uint8_t* const pixels = shared<uint8_t>(0);
    const bool words = (reinterpret_cast<uintptr_t>(a.frames) & 3) == 0;
#pragma unroll 1
    for (int begin = 4 * thread_index(); begin < kBytes; begin += 4 * kThreads * kAhead) {
      Word<4> word[kAhead];
#pragma unroll
      for (int k = 0; k < kAhead; ++k) {
        const int i = begin + 4 * kThreads * k, within = i % kFrameBytes;
        if (i >= kBytes) break;
        const int64_t number =
            least(time * kSpan + i / kFrameBytes, a.to.frame_count - 1);  // an odd count repeats its last
        const uint8_t* const from =
            corner + (number * a.to.out_height + within / kRowBytes) * row_bytes + within % kRowBytes;
        if (words) {
          word[k] = read_constant<4>(from);
        } else {
          word[k].part[0] = 0;
          for (int j = 0; j < 4; ++j) word[k].part[0] |= static_cast<uint32_t>(from[j]) << (8 * j);
        }
      }
#pragma unroll
      for (int k = 0; k < kAhead; ++k)
        if (const int i = begin + 4 * kThreads * k; i < kBytes) write<4>(pixels + i, word[k]);
    }
    sync_threads();
    T* const out = static_cast<T*>(a.to.out) + block_index().x * kBytes;
    for (int i = N * thread_index(); i < kBytes; i += N * kThreads) {
      const Line line(a.to, i / kPatch), next(a.to, i / kPatch + 1);
      const int start = i % kPatch;
      float value[N];
      for (int j = 0; j < N; ++j) {
        const bool here = start + j < kPatch;
        const int at = here ? line.at + 3 * (start + j) : next.at + 3 * (start + j - kPatch);
        value[j] = static_cast<float>(pixels[at]) * (here ? line.scale : next.scale) + (here ? line.shift : next.shift);
      }
      store(out + i, value);
    }
  }

  // Fourteen values in a row of a patch: where their pixels start, and the channel's normalisation.
  struct Line {
    int at;
    float scale, shift;

    DEVICE Line(const Patchify& a, int index) {
      const int row = index % kPatch, frame = index / kPatch % kSpan;
      const int channel = index / kPatch / kSpan % 3, patch = index / kPatch / kSpan / 3 % 4;
      at = frame * kFrameBytes + (patch / 2 * kPatch + row) * kRowBytes + patch % 2 * (3 * kPatch) + channel;
      scale = channel == 0 ? a.scale[0] : channel == 1 ? a.scale[1] : a.scale[2];
      shift = channel == 0 ? a.shift[0] : channel == 1 ? a.shift[1] : a.shift[2];
    }
  };
};

Error resize(ResizeStep& step, const uint8_t* in, void* scratch, Stream stream) {
  step.in = in;
  step.out = static_cast<uint8_t*>(scratch) + step.out_at;
  step.taps = reinterpret_cast<int32_t*>(static_cast<uint8_t*>(scratch) + step.taps_at);
  const Error error = launch<FindTaps>({(step.to + FindTaps::kThreads - 1) / FindTaps::kThreads}, 0, stream, step);
  if (error) return error;
  const auto with = [&](auto kernel) {
    return launch<decltype(kernel)>({step.outer * kernel.pieces(step)}, 0, stream, step);
  };
  const bool words = step.inner % 4 == 0 && reinterpret_cast<uintptr_t>(in) % 4 == 0;
  return words ? with(Resize<4>{}) : with(Resize<3>{});
}

}  // namespace

int64_t patchify_scratch(const Patchify& a) { return plan(a).bytes; }

Error patchify(const Patchify& a, Stream stream) {
  Pixels pixels{a, a.frames};
  Resizing resizing = plan(a);
  for (int i = 0; i < resizing.steps; ++i) {
    if (const Error error = resize(resizing.step[i], pixels.frames, a.scratch, stream)) return error;
    pixels.frames = resizing.step[i].out;
  }
  const int64_t blocks = (a.frame_count + a.span - 1) / a.span * (a.out_height / 28) * (a.out_width / 28);
  return for_float(a.dtype, [&](auto element) {
    using T = decltype(element);
    const auto with = [&](auto kernel) {
      return launch<decltype(kernel)>({blocks}, decltype(kernel)::kBytes, stream, pixels);
    };
    constexpr int N = 16 / sizeof(T);
    const bool whole = whole_vectors(0, static_cast<const void*>(a.out));
    if (a.span == 1) return whole ? with(WritePatches<T, N, 1>{}) : with(WritePatches<T, 1, 1>{});
    return whole ? with(WritePatches<T, N, 2>{}) : with(WritePatches<T, 1, 2>{});
  });
}

}  // namespace glm4v::cuda
