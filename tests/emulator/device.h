// device.h for g++: the same functions on the emulated machine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "machine.h"

#define DEVICE inline

namespace glm4v::cuda {

using emulator::machine, emulator::Wait;

DEVICE int thread_index() { return machine.current().index; }
DEVICE Blocks block_index() { return {machine.block[0], machine.block[1], machine.block[2]}; }
DEVICE Blocks block_count() { return {machine.blocks[0], machine.blocks[1], machine.blocks[2]}; }

DEVICE void sync_threads() {
  if (!machine.skips(Wait::sync_threads)) machine.named_barrier(0, machine.threads(), true, "sync_threads, barrier");
}

DEVICE void sync_warp() {
  if (machine.skips(Wait::sync_warp)) return;
  int nothing = 0;
  machine.together(32, "sync_warp", nothing, [](auto&&) {});
}

DEVICE void named_barrier_sync(int barrier, int threads) {
  if (!machine.skips(Wait::named_barrier)) machine.named_barrier(barrier, threads, true, "named barrier");
}
DEVICE void named_barrier_arrive(int barrier, int threads) {
  machine.named_barrier(barrier, threads, false, "named barrier");
}

DEVICE void fence_device() {}

DEVICE int atomic_add(int* address, int value) {
  const int before = *address;
  *address += value;
  return before;
}

// Every lane gets the value of the lane that source(lane) names.
template <typename T, typename Source>
DEVICE T exchange(T value, const char* instruction, Source&& source) {
  struct {
    T given, taken;
  } mine{value, value};
  machine.together(32, instruction, mine, [&](auto&& lane) {
    for (int i = 0; i < 32; ++i) lane(i).taken = lane(source(i)).given;
  });
  return mine.taken;
}

template <typename T>
DEVICE T shuffle(T value, int from) {
  struct {
    T given, taken;
    int from;
  } mine{value, value, from};
  machine.together(32, "shuffle", mine, [](auto&& lane) {
    for (int i = 0; i < 32; ++i) lane(i).taken = lane(lane(i).from & 31).given;
  });
  return mine.taken;
}
template <typename T>
DEVICE T shuffle_xor(T value, int mask) {
  return exchange(value, "shuffle_xor", [=](int lane) { return lane ^ mask; });
}
template <typename T>
DEVICE T shuffle_up(T value, int distance) {
  return exchange(value, "shuffle_up", [=](int lane) { return lane < distance ? lane : lane - distance; });
}

DEVICE uint32_t ballot(bool value) {
  struct {
    bool given;
    uint32_t taken;
  } mine{value, 0};
  machine.together(32, "ballot", mine, [](auto&& lane) {
    uint32_t all = 0;
    for (int i = 0; i < 32; ++i) all |= static_cast<uint32_t>(lane(i).given) << i;
    for (int i = 0; i < 32; ++i) lane(i).taken = all;
  });
  return mine.taken;
}

DEVICE int lowest_bit(uint32_t bits) { return __builtin_ctz(bits); }
DEVICE int highest_bit(uint32_t bits) { return 31 - __builtin_clz(bits); }

DEVICE uint8_t* shared_memory() { return machine.shared(); }

template <int kBytes>
DEVICE void check_aligned(const void* address) {
  machine.check(reinterpret_cast<uintptr_t>(address) % kBytes == 0, "a load or store is not aligned to its size");
}

template <int kBytes>
DEVICE Word<kBytes> read(const void* address) {
  check_aligned<kBytes>(address);
  Word<kBytes> word;
  std::memcpy(&word, address, kBytes);
  return word;
}
template <int kBytes>
DEVICE Word<kBytes> read_constant(const void* address) {
  return read<kBytes>(address);
}
template <int kBytes>
DEVICE void write(void* address, Word<kBytes> word) {
  check_aligned<kBytes>(address);
  std::memcpy(address, &word, kBytes);
}

DEVICE uint32_t float_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
DEVICE float bits_float(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(bf16 x) { return bits_float(static_cast<uint32_t>(x.bits) << 16); }
DEVICE float to_float(fp16 x) {
  _Float16 half;
  std::memcpy(&half, &x, 2);
  return static_cast<float>(half);
}

template <typename T>
DEVICE T from_float(float x) {
  if constexpr (sizeof(T) == 4) {
    return x;
  } else if constexpr (std::is_same_v<T, bf16>) {
    const uint32_t bits = float_bits(x);
    if (x != x) return {0x7fff};
    return {static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
  } else {
    const auto half = static_cast<_Float16>(x);
    T result;
    std::memcpy(&result, &half, 2);
    return result;
  }
}

template <typename T>
DEVICE uint32_t pack(float low, float high) {
  return from_float<T>(low).bits | static_cast<uint32_t>(from_float<T>(high).bits) << 16;
}

DEVICE float exp2_fast(float x) { return std::exp2(x); }
DEVICE float log2_fast(float x) { return std::log2(x); }
DEVICE float reciprocal_fast(float x) { return 1.0f / x; }

inline int device_arch() { return machine.arch; }
inline int multiprocessors() { return 4; }

template <typename Kernel, typename Arguments>
Error launch(Blocks blocks, int64_t shared_bytes, Stream, const Arguments& arguments) {
  if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0) return nullptr;
  if (Kernel::kArch > machine.arch) return "this kernel needs a device of compute capability 9.0";
  return machine.launch(
      blocks.x, blocks.y, blocks.z, Kernel::kThreads, shared_bytes,
      [](const void* a) { Kernel::run(*static_cast<const Arguments*>(a)); }, &arguments);
}

}  // namespace glm4v::cuda
