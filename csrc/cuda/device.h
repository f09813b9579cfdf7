// What kernels may ask of the hardware, in words that nvcc and g++ both understand; tensor cores and asynchronous
// copies stand in ptx.h. On a device the primitives are intrinsics; compiled by g++ they come from
// tests/emulator/device.h, so that every kernel is executed in tests without a GPU.
//
// A kernel is a struct: `kThreads` a block (a multiple of 32), `kMinBlocks` a multiprocessor, `kRegisters` that ptxas
// may give a thread (make cuda-check fails above it), `kArch` (80, or 90 for what needs sm_90a), and `static DEVICE
// void run(const Arguments&)`. launch<Kernel>() puts it on a stream.
#pragma once

#include <cstdint>
#include <type_traits>

#include "../math/math.h"
#include "kernels.h"

namespace glm4v::cuda {

struct bf16 {
  uint16_t bits;
};
struct fp16 {
  uint16_t bits;
};

// What one load or store instruction moves: 2, 4, 8 or 16 bytes.
template <int kBytes>
struct alignas(kBytes) Word {
  uint32_t part[kBytes / 4];
};
template <>
struct alignas(2) Word<2> {
  uint16_t part[1];
};

// How many blocks a launch has along each axis; y and z are at most 65,535.
struct Blocks {
  int64_t x = 1, y = 1, z = 1;
};

}  // namespace glm4v::cuda

#ifndef __CUDACC__
#include "emulator/device.h"
#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define DEVICE __device__ __forceinline__

namespace glm4v::cuda {

// where a thread stands -----------------------------------------------------------------------------------------------

DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
DEVICE Blocks block_index() { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
DEVICE Blocks block_count() { return {gridDim.x, gridDim.y, gridDim.z}; }

// waiting for others --------------------------------------------------------------------------------------------------

DEVICE void sync_threads() { __syncthreads(); }
DEVICE void sync_warp() { __syncwarp(); }

// Barriers 1 to 15 for some of the block's warps: `threads` of them sync or arrive (who arrives does not wait).
DEVICE void named_barrier_sync(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
DEVICE void named_barrier_arrive(int barrier, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// What this thread wrote is seen by the whole device before what it writes next.
DEVICE void fence_device() { __threadfence(); }

// The value before the addition.
DEVICE int atomic_add(int* address, int value) { return atomicAdd(address, value); }

// between the lanes of a warp, all 32 of which take part --------------------------------------------------------------

template <typename T>
DEVICE T shuffle(T value, int lane) {
  return __shfl_sync(0xffffffff, value, lane);
}
template <typename T>
DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffff, value, mask);
}
template <typename T>
DEVICE T shuffle_up(T value, int distance) {  // lanes below `distance` keep theirs
  return __shfl_up_sync(0xffffffff, value, distance);
}
DEVICE uint32_t ballot(bool value) { return __ballot_sync(0xffffffff, value); }

// The numbers of the lowest and the highest bit that are set.
DEVICE int lowest_bit(uint32_t bits) { return __ffs(static_cast<int>(bits)) - 1; }
DEVICE int highest_bit(uint32_t bits) { return 31 - __clz(static_cast<int>(bits)); }

// memory --------------------------------------------------------------------------------------------------------------

// The block's shared memory, starting at a multiple of 1024 bytes.
DEVICE uint8_t* shared_memory() {
  extern __shared__ __align__(1024) uint8_t bytes[];
  return bytes;
}

template <int kBytes>
DEVICE Word<kBytes> read(const void* address) {
  Word<kBytes> word;
  if constexpr (kBytes == 16) {
    *reinterpret_cast<uint4*>(&word) = *static_cast<const uint4*>(address);
  } else if constexpr (kBytes == 8) {
    *reinterpret_cast<uint2*>(&word) = *static_cast<const uint2*>(address);
  } else {
    word = *static_cast<const Word<kBytes>*>(address);
  }
  return word;
}

// Global memory that nobody writes while the kernel runs: the compiler may move the load up.
template <int kBytes>
DEVICE Word<kBytes> read_constant(const void* address) {
  Word<kBytes> word;
  if constexpr (kBytes == 16) {
    *reinterpret_cast<uint4*>(&word) = __ldg(static_cast<const uint4*>(address));
  } else if constexpr (kBytes == 8) {
    *reinterpret_cast<uint2*>(&word) = __ldg(static_cast<const uint2*>(address));
  } else if constexpr (kBytes == 4) {
    word.part[0] = __ldg(static_cast<const unsigned*>(address));
  } else {
    word.part[0] = __ldg(static_cast<const unsigned short*>(address));
  }
  return word;
}

template <int kBytes>
DEVICE void write(void* address, Word<kBytes> word) {
  if constexpr (kBytes == 16) {
    *static_cast<uint4*>(address) = *reinterpret_cast<const uint4*>(&word);
  } else if constexpr (kBytes == 8) {
    *static_cast<uint2*>(address) = *reinterpret_cast<const uint2*>(&word);
  } else {
    *static_cast<Word<kBytes>*>(address) = word;
  }
}

// numbers -------------------------------------------------------------------------------------------------------------

DEVICE uint32_t float_bits(float x) { return __float_as_uint(x); }
DEVICE float bits_float(uint32_t bits) { return __uint_as_float(bits); }

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(bf16 x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }
DEVICE float to_float(fp16 x) { return __half2float(__ushort_as_half(x.bits)); }

// Rounded to nearest even.
template <typename T>
DEVICE T from_float(float x) {
  if constexpr (sizeof(T) == 4) {
    return x;
  } else if constexpr (std::is_same_v<T, bf16>) {
    return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
  } else {
    return {__half_as_ushort(__float2half_rn(x))};
  }
}

// Two 16-bit numbers in a register, `low` in its low half: one instruction for both.
template <typename T>
DEVICE uint32_t pack(float low, float high) {
  uint32_t both;
  if constexpr (std::is_same_v<T, bf16>) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  }
  return both;
}

// Approximate to 2 units in the last place of a float; results below 2^-126 are 0.
DEVICE float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
DEVICE float log2_fast(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
DEVICE float reciprocal_fast(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// on the host ---------------------------------------------------------------------------------------------------------

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
inline constexpr int kCompiledArch = 90;
#else
inline constexpr int kCompiledArch = 80;
#endif

// The budget of registers is a parameter so that it stands in the entry's name, which ptxas prints.
template <typename Kernel, typename Arguments, int kRegisters>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kMinBlocks)
    entry(const __grid_constant__ Arguments arguments) {
  if constexpr (Kernel::kArch <= kCompiledArch) Kernel::run(arguments);
}

inline Error text_of(cudaError_t error) { return error == cudaSuccess ? nullptr : cudaGetErrorString(error); }

// What the current device runs: 90 for sm_90a kernels, else 80.
inline int device_arch() {
  int device = 0, major = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  return major == 9 ? 90 : 80;
}

inline int multiprocessors() {
  int device = 0, count = 1;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  return count;
}

// Puts a kernel on the stream; nothing to do where an axis has no blocks.
template <typename Kernel, typename Arguments>
Error launch(Blocks blocks, int64_t shared_bytes, Stream stream, const Arguments& arguments) {
  if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0) return nullptr;
  if (Kernel::kArch > 80 && device_arch() < Kernel::kArch)
    return "this kernel needs a device of compute capability 9.0";
  const auto function = entry<Kernel, Arguments, Kernel::kRegisters>;
  if (shared_bytes > 48 * 1024) {
    const cudaError_t error =
        cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
    if (error != cudaSuccess) return text_of(error);
  }
  const dim3 grid(static_cast<unsigned>(blocks.x), static_cast<unsigned>(blocks.y), static_cast<unsigned>(blocks.z));
  void* parameters[] = {const_cast<Arguments*>(&arguments)};
  return text_of(
      cudaLaunchKernel(function, grid, dim3(Kernel::kThreads), parameters, static_cast<size_t>(shared_bytes), stream));
}

}  // namespace glm4v::cuda

#endif

// The same for both: what is made of the primitives.
namespace glm4v::cuda {

DEVICE int lane_index() { return thread_index() % 32; }
DEVICE int warp_index() { return thread_index() / 32; }

template <typename T>
DEVICE T* shared(int64_t byte_offset) {
  return reinterpret_cast<T*>(shared_memory() + byte_offset);
}

template <typename T>
DEVICE float rounded(float x) {
  return to_float(from_float<T>(x));
}

// The two 16-bit numbers of a register.
template <typename T>
DEVICE void unpack(uint32_t both, float& low, float& high) {
  low = to_float(T{static_cast<uint16_t>(both & 0xffff)});
  high = to_float(T{static_cast<uint16_t>(both >> 16)});
}

template <typename T, int N, int kBytes>
DEVICE void unpack_word(const Word<kBytes>& word, float (&value)[N], int at) {
  if constexpr (sizeof(T) == 4) {
    for (int i = 0; i < kBytes / 4; ++i) value[at + i] = bits_float(word.part[i]);
  } else if constexpr (kBytes == 2) {
    value[at] = to_float(T{word.part[0]});
  } else {
    for (int i = 0; i < kBytes / 4; ++i) unpack<T>(word.part[i], value[at + 2 * i], value[at + 2 * i + 1]);
  }
}

// Bytes that each instruction moves for N elements, and the alignment that their address needs.
template <typename T, int N>
inline constexpr int kWordBytes = N * sizeof(T) < 16 ? N * sizeof(T) : 16;

// N consecutive elements from global or shared memory as floats.
template <int N, typename T>
DEVICE void load(float (&value)[N], const T* from) {
  constexpr int kBytes = kWordBytes<T, N>, kEach = kBytes / sizeof(T);
#pragma unroll
  for (int i = 0; i < N; i += kEach) unpack_word<T>(read<kBytes>(from + i), value, i);
}

// The same from global memory that nobody writes while the kernel runs.
template <int N, typename T>
DEVICE void load_constant(float (&value)[N], const T* from) {
  constexpr int kBytes = kWordBytes<T, N>, kEach = kBytes / sizeof(T);
#pragma unroll
  for (int i = 0; i < N; i += kEach) unpack_word<T>(read_constant<kBytes>(from + i), value, i);
}

template <int N, typename T>
DEVICE void store(T* to, const float (&value)[N]) {
  constexpr int kBytes = kWordBytes<T, N>, kEach = kBytes / sizeof(T);
#pragma unroll
  for (int i = 0; i < N; i += kEach) {
    Word<kBytes> word;
    if constexpr (sizeof(T) == 4) {
      for (int j = 0; j < kEach; ++j) word.part[j] = float_bits(value[i + j]);
    } else if constexpr (kBytes == 2) {
      word.part[0] = from_float<T>(value[i]).bits;
    } else {
      for (int j = 0; j < kEach / 2; ++j) word.part[j] = pack<T>(value[i + 2 * j], value[i + 2 * j + 1]);
    }
    write<kBytes>(to + i, word);
  }
}

// Sums and maxima over a warp, or over each kLanes neighbours in it; every lane gets the same bits.
template <int kLanes = 32, typename T>
DEVICE T warp_sum(T x) {
#pragma unroll
  for (int mask = kLanes / 2; mask > 0; mask /= 2) x += shuffle_xor(x, mask);
  return x;
}

// The sum over the lanes up to each.
template <typename T>
DEVICE T sum_up_to(T x) {
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const T before = shuffle_up(x, distance);
    if (lane_index() >= distance) x += before;
  }
  return x;
}

DEVICE float warp_max(float x) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const float other = shuffle_xor(x, mask);
    x = x > other ? x : other;
  }
  return x;
}

// Sums of kCount numbers over a block of kThreads; every thread gets them. `scratch` holds kCount * kThreads / 32
// floats and is free again after the block's next barrier: sums in a row take turns between two of them.
template <int kThreads, int kCount>
DEVICE void block_sum(float (&x)[kCount], float* scratch) {
  constexpr int kWarps = kThreads / 32;
  for (int i = 0; i < kCount; ++i) {
    x[i] = warp_sum(x[i]);
    if (lane_index() == 0) scratch[i * kWarps + warp_index()] = x[i];
  }
  sync_threads();
  for (int i = 0; i < kCount; ++i) x[i] = warp_sum<kWarps>(scratch[i * kWarps + lane_index() % kWarps]);
}

// Calls f with an object of the element type.
template <typename F>
Error for_float(DType dtype, F&& f) {
  if (dtype == DType::f32) return f(float{});
  if (dtype == DType::bf16) return f(bf16{});
  return f(fp16{});
}

// Whether every address, and every row of `bytes` after it, starts at a multiple of 16 bytes.
template <typename... Pointers>
bool whole_vectors(int64_t bytes, const Pointers*... pointers) {
  return ((bytes | ... | static_cast<int64_t>(reinterpret_cast<uintptr_t>(pointers))) % 16) == 0;
}

}  // namespace glm4v::cuda
