// The kernels of probes.h.
#include "probes.h"

#include "../../csrc/cuda/ptx.h"

namespace glm4v::cuda {
namespace {

template <bool kTransposed, int kCount>
struct LoadMatrices {
  static constexpr int kThreads = 32, kMinBlocks = 1, kRegisters = 64, kArch = 80;

  static DEVICE void run(const MatrixProbe& p) {
    const auto* const in = static_cast<const uint8_t*>(p.in);
    uint8_t* const row = shared_memory() + 16 * thread_index();
    if (thread_index() < 8 * kCount) write<16>(row, read_constant<16>(in + 16 * thread_index()));
    sync_warp();
    uint32_t registers[kCount];
    load_matrices<kTransposed>(registers, row);
    for (int i = 0; i < kCount; ++i) static_cast<uint32_t*>(p.out)[kCount * thread_index() + i] = registers[i];
  }
};

template <bool kTransposed>
struct StoreMatrices {
  static constexpr int kThreads = 32, kMinBlocks = 1, kRegisters = 64, kArch = 90;

  static DEVICE void run(const MatrixProbe& p) {
    uint32_t registers[4];
    for (int i = 0; i < 4; ++i) registers[i] = static_cast<const uint32_t*>(p.in)[4 * thread_index() + i];
    uint8_t* const row = shared_memory() + 16 * thread_index();
    store_matrices<kTransposed>(row, registers);
    sync_warp();
    write<16>(static_cast<uint8_t*>(p.out) + 16 * thread_index(), read<16>(row));
  }
};

template <typename T>
struct Mma {
  static constexpr int kThreads = 32, kMinBlocks = 1, kRegisters = 64, kArch = 80;

  static DEVICE void run(const MmaProbe& p) {
    const int lane = thread_index();
    uint32_t a[4], b[2];
    float d[4];
    for (int i = 0; i < 4; ++i) a[i] = static_cast<const uint32_t*>(p.a)[4 * lane + i], d[i] = p.d[4 * lane + i];
    for (int i = 0; i < 2; ++i) b[i] = static_cast<const uint32_t*>(p.b)[2 * lane + i];
    mma_16x8x16<T>(d, a, b[0], b[1]);
    for (int i = 0; i < 4; ++i) p.d[4 * lane + i] = d[i];
  }
};

// A ring of three rows of 512 bytes; each thread writes what its neighbour copied.
struct Copy {
  static constexpr int kThreads = 32, kMinBlocks = 1, kRegisters = 64, kArch = 80, kStages = 3;

  static DEVICE void fetch(const CopyProbe& p, int64_t row) {
    const int64_t at = row * 512 + 16 * thread_index();
    const int64_t left = p.bytes - at;
    const int bytes = row >= p.rows || left < 0 ? 0 : left > 16 ? 16 : static_cast<int>(left);
    if (row < p.rows)
      copy_async(shared_memory() + row % kStages * 512 + 16 * thread_index(), p.in + (bytes ? at : 0), bytes);
    copy_commit();
  }

  static DEVICE void run(const CopyProbe& p) {
    for (int i = 0; i + 1 < kStages; ++i) fetch(p, i);
    const int neighbour = 16 * (thread_index() ^ 1);
    for (int64_t row = 0; row < p.rows; ++row) {
      copy_wait<kStages - 2>();
      sync_threads();  // the row is there for all, and the one that fetch overwrites was read by all
      fetch(p, row + kStages - 1);
      write<16>(p.out + row * 512 + neighbour, read<16>(shared_memory() + row % kStages * 512 + neighbour));
    }
  }
};

struct TmaArguments {
  TensorMap source;
  TmaProbe probe;
};

struct Tma {
  static constexpr int kThreads = 128, kMinBlocks = 1, kRegisters = 64, kArch = 90;

  static DEVICE int box_bytes(const TmaProbe& p) {
    int bytes = 2;
    for (int i = 0; i < p.rank; ++i) bytes *= p.box[i];
    return bytes;
  }

  static DEVICE void run(const TmaArguments& a) {
    const TmaProbe& p = a.probe;
    const int bytes = box_bytes(p);
    uint8_t* const box = shared_memory();
    auto* const arrived = shared<Barrier>((bytes + 7) / 8 * 8);
    if (thread_index() == 0) {
      prefetch(&a.source);
      barrier_init(arrived, 1);
      barrier_init_fence();
    }
    sync_threads();
    if (thread_index() < 32 && elect_one()) {
      barrier_arrive_expect(arrived, bytes);
      if (p.rank == 2) tma_load(box, &a.source, arrived, p.from[0], p.from[1]);
      if (p.rank == 3) tma_load(box, &a.source, arrived, p.from[0], p.from[1], p.from[2]);
      if (p.rank == 4) tma_load(box, &a.source, arrived, p.from[0], p.from[1], p.from[2], p.from[3]);
    }
    barrier_wait(arrived, 0);
    for (int i = thread_index(); i < bytes / 2; i += kThreads)
      static_cast<uint16_t*>(p.bytes)[i] = reinterpret_cast<const uint16_t*>(box)[i];
  }
};

struct WgmmaArguments {
  TensorMap a, b;
  WgmmaProbe probe;
};

// A tile of kRows along m or n and 64 along k in shared memory, in boxes one swizzle wide along the major axis.
template <int kRows, Major kMajor, Swizzle kSwizzle>
struct Tile {
  static constexpr int kWidth = static_cast<int>(kSwizzle), kAcross = kWidth / 2;
  static constexpr int kBoxRows = kMajor == Major::k ? kRows : 64;
  static constexpr int kBoxBytes = kBoxRows * kWidth;
  static constexpr int kBoxes = (kMajor == Major::k ? 64 : kRows) / kAcross;
  static constexpr int kBytes = 64 * kRows * 2;

  static DEVICE void fetch(uint8_t* tile, const TensorMap* map, Barrier* arrived) {
    for (int i = 0; i < kBoxes; ++i) tma_load(tile + i * kBoxBytes, map, arrived, i * kAcross, 0);
  }
  static DEVICE uint64_t descriptor(const uint8_t* tile, int k) {
    if constexpr (kMajor == Major::k)
      return matrix_descriptor<kSwizzle>(tile + k / kAcross * kBoxBytes + k % kAcross * 2, 8 * kWidth);
    else
      return matrix_descriptor<kSwizzle>(tile + k * kWidth, 8 * kWidth, kBoxBytes);
  }
  static TensorLayout layout(const void* data) {
    const uint64_t inner = kMajor == Major::k ? 64 : kRows;
    return {data, 2, {inner, static_cast<uint64_t>(kBoxRows)}, {2 * inner}, {kAcross, kBoxRows}, kSwizzle};
  }
};

template <typename T, int N, Major kMajorA, Major kMajorB, bool kRegistersA, Swizzle kSwizzle>
struct WgmmaKernel {
  static constexpr int kThreads = 128, kMinBlocks = 1, kRegisters = 255, kArch = 90;
  using A = Tile<64, kMajorA, kSwizzle>;
  using B = Tile<N, kMajorB, kSwizzle>;
  static constexpr int kBytes = A::kBytes + B::kBytes + 8;

  static DEVICE void run(const WgmmaArguments& arguments) {
    uint8_t *const a = shared_memory(), *const b = a + A::kBytes;
    auto* const arrived = shared<Barrier>(A::kBytes + B::kBytes);
    if (thread_index() == 0) {
      barrier_init(arrived, 1);
      barrier_init_fence();
    }
    sync_threads();
    if (thread_index() == 0) {
      barrier_arrive_expect(arrived, A::kBytes + B::kBytes);
      A::fetch(a, &arguments.a, arrived);
      B::fetch(b, &arguments.b, arrived);
    }
    barrier_wait(arrived, 0);

    const int row = 16 * warp_index() + lane_index() / 4, column = 2 * (lane_index() % 4);
    float d[N / 2];
    float* const out = arguments.probe.out;
    for (int i = 0; i < N / 2; ++i) d[i] = out[(row + 8 * (i / 2 % 2)) * N + 8 * (i / 4) + column + i % 2];
    uint32_t fragments[4][4];
    if constexpr (kRegistersA) {
      for (int k = 0; k < 4; ++k)
        for (int r = 0; r < 4; ++r)
          fragments[k][r] =
              read<4>(a + swizzled<kSwizzle>((row + 8 * (r % 2)) * 128 + 2 * (16 * k + column + 8 * (r / 2)))).part[0];
    }
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if constexpr (kRegistersA)
        wgmma<T, kMajorB>(d, fragments[k], B::descriptor(b, 16 * k), true);
      else
        wgmma<T, kMajorA, kMajorB>(d, A::descriptor(a, 16 * k), B::descriptor(b, 16 * k), true);
    }
    wgmma_commit();
    wgmma_wait<0>();
    for (int i = 0; i < N / 2; ++i) out[(row + 8 * (i / 2 % 2)) * N + 8 * (i / 4) + column + i % 2] = d[i];
  }
};

template <typename T, int N, Major kMajorA, Major kMajorB, bool kRegistersA, Swizzle kSwizzle>
bool launch_wgmma(const WgmmaProbe& p, Stream stream, Error& error) {
  using Kernel = WgmmaKernel<T, N, kMajorA, kMajorB, kRegistersA, kSwizzle>;
  if ((p.dtype == DType::bf16) != std::is_same_v<T, bf16> || p.n != N || p.a_in_registers != kRegistersA ||
      p.a_mn_major != (kMajorA == Major::mn) || p.b_mn_major != (kMajorB == Major::mn) ||
      p.swizzle != static_cast<int>(kSwizzle))
    return false;
  WgmmaArguments arguments{{}, {}, p};
  error = encode_tensor_map(arguments.a, p.dtype, Kernel::A::layout(p.a));
  if (!error) error = encode_tensor_map(arguments.b, p.dtype, Kernel::B::layout(p.b));
  if (!error) error = launch<Kernel>({}, Kernel::kBytes, stream, arguments);
  return true;
}

TensorLayout tensor_layout(const TmaProbe& p) {
  TensorLayout layout{p.source, p.rank, {}, {}, {}, static_cast<Swizzle>(p.swizzle)};
  uint64_t bytes = 2;
  for (int i = 0; i < p.rank; ++i) {
    layout.size[i] = static_cast<uint64_t>(p.size[i]);
    layout.box[i] = static_cast<uint32_t>(p.box[i]);
    bytes *= layout.size[i];
    if (i + 1 < p.rank) layout.stride[i] = bytes;
  }
  return layout;
}

// A producer and two consumer warpgroups. A slot of shared memory a consumer goes from hand to hand by named barriers:
// 1 + c when the producer filled it, 3 + c when consumer c has read it.
struct Roles {
  static constexpr int kThreads = 384, kMinBlocks = 1, kRegisters = 168, kArch = 90;

  static DEVICE void run(const RolesProbe& p) {
    const int role = thread_index() / 128, thread = thread_index() % 128;
    if (role == 0) {
      registers_down<40>();
      for (int round = 0; round < p.rounds; ++round)
        for (int c = 0; c < 2; ++c) {
          if (round > 0) named_barrier_sync(3 + c, 256);
          shared<float>(0)[128 * c + 127 - thread] = static_cast<float>(1000 * round + 128 * c + thread);
          named_barrier_arrive(1 + c, 256);
        }
    } else {
      registers_up<232>();
      const int c = role - 1;
      for (int round = 0; round < p.rounds; ++round) {
        named_barrier_sync(1 + c, 256);
        p.out[(2 * round + c) * 128 + thread] = shared<float>(0)[128 * c + thread];
        if (round + 1 < p.rounds) named_barrier_arrive(3 + c, 256);
      }
    }
  }
};

}  // namespace

Error probe_matrices(const MatrixProbe& p, Stream stream) {
  const int bytes = 32 * 16;
  if (p.store && p.transposed) return launch<StoreMatrices<true>>({}, bytes, stream, p);
  if (p.store) return launch<StoreMatrices<false>>({}, bytes, stream, p);
  if (p.count == 1)
    return p.transposed ? launch<LoadMatrices<true, 1>>({}, bytes, stream, p)
                        : launch<LoadMatrices<false, 1>>({}, bytes, stream, p);
  if (p.count == 2)
    return p.transposed ? launch<LoadMatrices<true, 2>>({}, bytes, stream, p)
                        : launch<LoadMatrices<false, 2>>({}, bytes, stream, p);
  return p.transposed ? launch<LoadMatrices<true, 4>>({}, bytes, stream, p)
                      : launch<LoadMatrices<false, 4>>({}, bytes, stream, p);
}

Error probe_mma(const MmaProbe& p, Stream stream) {
  return p.dtype == DType::bf16 ? launch<Mma<bf16>>({}, 0, stream, p) : launch<Mma<fp16>>({}, 0, stream, p);
}

Error probe_copy(const CopyProbe& p, Stream stream) { return launch<Copy>({}, Copy::kStages * 512, stream, p); }

Error probe_tma(const TmaProbe& p, Stream stream) {
  TmaArguments arguments{{}, p};
  const Error error = encode_tensor_map(arguments.source, DType::bf16, tensor_layout(p));
  int64_t bytes = 2;
  for (int i = 0; i < p.rank; ++i) bytes *= p.box[i];
  return error ? error : launch<Tma>({}, (bytes + 7) / 8 * 8 + 8, stream, arguments);
}

Error probe_wgmma(const WgmmaProbe& p, Stream stream) {
  constexpr Major kK = Major::k, kMn = Major::mn;
  constexpr Swizzle k32 = Swizzle::b32, k64 = Swizzle::b64, k128 = Swizzle::b128;
  Error error = "no such probe";
  launch_wgmma<bf16, 16, kK, kK, false, k128>(p, stream, error) ||
      launch_wgmma<bf16, 176, kK, kK, false, k128>(p, stream, error) ||
      launch_wgmma<bf16, 256, kK, kK, false, k128>(p, stream, error) ||
      launch_wgmma<fp16, 64, kK, kK, false, k128>(p, stream, error) ||
      launch_wgmma<bf16, 64, kMn, kMn, false, k128>(p, stream, error) ||
      launch_wgmma<bf16, 128, kK, kMn, false, k128>(p, stream, error) ||
      launch_wgmma<bf16, 128, kMn, kK, false, k64>(p, stream, error) ||
      launch_wgmma<bf16, 96, kK, kMn, false, k64>(p, stream, error) ||
      launch_wgmma<bf16, 48, kMn, kMn, false, k32>(p, stream, error) ||
      launch_wgmma<bf16, 32, kK, kK, false, k32>(p, stream, error) ||
      launch_wgmma<bf16, 128, kK, kK, true, k128>(p, stream, error) ||
      launch_wgmma<fp16, 256, kK, kMn, true, k128>(p, stream, error);
  return error;
}

Error probe_roles(const RolesProbe& p, Stream stream) { return launch<Roles>({}, 2 * 128 * 4, stream, p); }

}  // namespace glm4v::cuda
