// Tensor cores and asynchronous copies: one small function an instruction, for sm_80 and, below, for sm_90a. Facts are
// from the PTX ISA (8.7); fragment layouts agree with CuTe's traits (tests/cuda/test_emulator.py says what was
// compared). Compiled by g++ the bodies come from tests/emulator/ptx.h.
//
// Notation: lane = 4 * g + t of a warp, g in 0..7, t in 0..3; a register holds two 16-bit numbers, the lower index low.
#pragma once

#include "device.h"

namespace glm4v::cuda {

// A barrier in shared memory (8 bytes): a phase ends when `arrivals` threads have arrived and all expected bytes have
// come.
struct alignas(8) Barrier {
  uint64_t state;
};

// A tensor in global memory as TMA sees it; made by encode_tensor_map, passed to kernels inside their arguments.
struct alignas(128) TensorMap {
  uint64_t opaque[16];
};

// In which order the 16-byte pieces of a shared tile lie: piece c of row r, rows being as wide as the swizzle, lies at
// c xor a hash of r, so that eight rows of one column lie in different banks. The value is the row's width in bytes.
enum class Swizzle : int { none = 0, b32 = 32, b64 = 64, b128 = 128 };

// Place of the byte at `offset` of a tile that starts at a multiple of 8 * kWidth bytes.
template <Swizzle kSwizzle>
GLM4V_SHARED constexpr uint32_t swizzled(uint32_t offset) {
  if constexpr (kSwizzle == Swizzle::none) {
    return offset;
  } else {
    return offset ^ ((offset >> 3) & (static_cast<uint32_t>(kSwizzle) - 16));
  }
}

// What a tensor map describes: `rank` 2 to 4 axes, innermost first and without gaps; sizes in elements, strides of the
// other axes in bytes (multiples of 16), the box that one copy moves (its inner axis at most the swizzle's width).
struct TensorLayout {
  const void* data;  // 16-byte aligned
  int rank;
  uint64_t size[4];
  uint64_t stride[3];
  uint32_t box[4];
  Swizzle swizzle;
};

// For bf16 or fp16 tensors.
Error encode_tensor_map(TensorMap& map, DType dtype, const TensorLayout& layout);

// Where the 16-bit numbers of a wgmma operand lie in shared memory. `major`: which axis runs along a row of the
// swizzle.
enum class Major : int { k = 0, mn = 1 };

}  // namespace glm4v::cuda

#ifndef __CUDACC__
#include "emulator/ptx.h"
#else

namespace glm4v::cuda {

DEVICE uint32_t shared_address(const void* shared) { return static_cast<uint32_t>(__cvta_generic_to_shared(shared)); }

// matrices of 8x8 numbers of 16 bits between shared memory and a warp's registers -----------------------------------

// Loads kCount (1, 2 or 4) matrices. Lane 8 * i + r gives the address of row r of matrix i (16 bytes, 16-byte aligned;
// only the first 8 * kCount lanes' addresses count); every lane gets, in registers[i], row g, columns 2t and 2t + 1 of
// matrix i, with kTransposed rows 2t and 2t + 1 of column g.
template <bool kTransposed = false, int kCount>
DEVICE void load_matrices(uint32_t (&registers)[kCount], const void* row) {
  const uint32_t address = shared_address(row);
  if constexpr (kCount == 1 && !kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(registers[0]) : "r"(address) : "memory");
  } else if constexpr (kCount == 1) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                 : "=r"(registers[0])
                 : "r"(address)
                 : "memory");
  } else if constexpr (kCount == 2 && !kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(registers[0]), "=r"(registers[1])
                 : "r"(address)
                 : "memory");
  } else if constexpr (kCount == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(registers[0]), "=r"(registers[1])
                 : "r"(address)
                 : "memory");
  } else if constexpr (!kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(address)
                 : "memory");
  }
}

// The way back, four matrices at once, on sm_90.
template <bool kTransposed = false>
DEVICE void store_matrices(void* row, const uint32_t (&registers)[4]) {
  const uint32_t address = shared_address(row);
  if constexpr (!kTransposed) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(registers[0]),
                 "r"(registers[1]), "r"(registers[2]), "r"(registers[3])
                 : "memory");
  } else {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
                 "r"(registers[0]), "r"(registers[1]), "r"(registers[2]), "r"(registers[3])
                 : "memory");
  }
}

// d [16, 8] += a [16, 16] * b [16, 8], T bf16 or fp16, sums in float.
//   a[0]: row g, columns 2t, 2t + 1    a[1]: row g + 8    a[2]: row g, columns 2t + 8, 2t + 9    a[3]: row g + 8 of
//   these b[0]: rows 2t, 2t + 1 of column g                     b[1]: rows 2t + 8, 2t + 9 d[0], d[1]: row g, columns
//   2t, 2t + 1                 d[2], d[3]: row g + 8
template <typename T>
DEVICE void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (std::is_same_v<T, bf16>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

// copies from global to shared memory that a thread does not wait for ------------------------------------------------

// Copies the first `bytes` of 16 and fills the rest with zeros; both addresses 16-byte aligned; with 0 bytes nothing is
// read. The thread itself sees the data after copy_wait, others after a barrier that follows it.
DEVICE void copy_async(void* shared, const void* global, int bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes)
               : "memory");
}

// Copies since the last commit become a group.
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most kPending of this thread's groups, the latest, are under way.
template <int kPending>
DEVICE void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// sm_90a: barriers in shared memory -----------------------------------------------------------------------------------

// One thread does this; the block then needs barrier_init_fence and sync_threads before anybody else uses it.
DEVICE void barrier_init(Barrier* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
DEVICE void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

DEVICE void barrier_arrive(Barrier* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

// Arrives, and the phase now also waits for `bytes` more from TMA.
DEVICE void barrier_arrive_expect(Barrier* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}

// Waits until the phase of this parity has ended: the first phase has parity 0, so that a wait for parity 1 on a fresh
// barrier passes.
DEVICE void barrier_wait(Barrier* barrier, int parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra over;\n"
      "bra again;\n"
      "over:\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}

// What threads wrote to shared memory before is seen by TMA stores and wgmma after.
DEVICE void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// One lane of the warp, always the same, gets true; all 32 take part.
DEVICE bool elect_one() {
  uint32_t elected;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "elect.sync _|p, 0xffffffff;\n"
      "selp.u32 %0, 1, 0, p;\n"
      "}"
      : "=r"(elected));
  return elected != 0;
}

// Registers of every thread of the warpgroup from now on, a multiple of 8 from 24 to 256.
template <int kRegisters>
DEVICE void registers_up() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
DEVICE void registers_down() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// sm_90a: TMA. One thread issues a copy of the map's box, whose first element has the coordinates x0 (innermost), x1,
// ... (any sign); elements outside of the tensor are read as 0. In shared memory the box has no gaps,
// is swizzled by its address, and starts at a multiple of 128 bytes (with a swizzle: of 8 times its width).
// ------------------

DEVICE void prefetch(const TensorMap* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }

// The barrier's phase gets the box's bytes (all of them, outside or not).
DEVICE void tma_load(void* shared, const TensorMap* map, Barrier* barrier, int x0, int x1) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
          shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "r"(x0), "r"(x1)
      : "memory");
}
DEVICE void tma_load(void* shared, const TensorMap* map, Barrier* barrier, int x0, int x1, int x2) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "r"(x0), "r"(x1), "r"(x2)
      : "memory");
}
DEVICE void tma_load(void* shared, const TensorMap* map, Barrier* barrier, int x0, int x1, int x2, int x3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "r"(x0), "r"(x1), "r"(x2), "r"(x3)
      : "memory");
}

// sm_90a: matrix products of a warpgroup (128 threads, the first a multiple of 128).
// ------------------------------------ Registers of a product under way (d, and a where it is in registers) and its
// shared memory stay untouched, and the C++ arrays in scope, until wgmma_wait.

// Before the first product, and after registers of the next one were written.
DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// The compiler, which does not know of wgmma_fence and wgmma_wait, moves no access to these registers across this. Of a
// descriptor it takes the value for a new one: sums with it are not computed before a loop, to wait in registers there.
template <int kCount>
DEVICE void wgmma_hold(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
template <int kCount>
DEVICE void wgmma_hold(uint32_t (&a)[kCount][4]) {
#pragma unroll
  for (int i = 0; i < 4 * kCount; ++i) asm volatile("" : "+r"(a[i / 4][i % 4])::"memory");
}
DEVICE void wgmma_hold(uint64_t& descriptor) { asm volatile("" : "+l"(descriptor)); }

}  // namespace glm4v::cuda

#include "wgmma.h"

#endif

namespace glm4v::cuda {

// Describes a wgmma operand of 16 along k in shared memory, `start` at its first element (16-byte aligned).
//   Major::k:  rows (m or n) of one swizzle width; 8 rows lie one after another, the next 8 `stride` bytes on. The next
//   16
//              of k inside a row are 32 bytes on: start + 32 (with b32 there are none).
//   Major::mn: rows (k) of one swizzle width along m or n; 8 rows one after another, the next 8 of k `stride` bytes on,
//   the
//              next swizzle width along m or n `leading` bytes on.
// Tiles start at multiples of 8 swizzle widths. Swizzle::none is not supported here.
template <Swizzle kSwizzle>
DEVICE uint64_t matrix_descriptor(const void* start, int stride, int leading = 0) {
  static_assert(kSwizzle != Swizzle::none);
  constexpr uint64_t kLayout = kSwizzle == Swizzle::b128 ? 1 : kSwizzle == Swizzle::b64 ? 2 : 3;
  return (shared_address(start) & 0x3ffff) >> 4 | static_cast<uint64_t>(leading >> 4) << 16 |
         static_cast<uint64_t>(stride >> 4) << 32 | kLayout << 62;
}

}  // namespace glm4v::cuda
