// A product of bfloat16 matrices on sm_90a whose tiles an epilogue takes from the registers: CUTLASS's main loop (TMA,
// wgmma, one producer and two consumer warpgroups, tiles in clusters of two, persistent) around epilogues of ours.
// CUTLASS runs on a GPU only; compiled by g++ the product comes from tests/emulator/gemm.h, so that all else is
// executed in tests.
//
// An epilogue is a struct: `Arguments`, and `static DEVICE void run(const Arguments&, float (&d)[kAccumulators],
// Place)`, in which all lanes of a warp take part. launch_gemm<Epilogue>() puts the product on a stream.
#pragma once

#include "tiles.h"

#ifndef __CUDACC__
#include "emulator/gemm.h"
#elif !defined GLM4V_CUTLASS

namespace glm4v::cuda::fused {

inline constexpr bool kIsBuilt = false;

template <typename Epilogue>
Error launch_gemm(const Factors&, const typename Epilogue::Arguments&, Stream) {
  return "this build has no products with fused epilogues: it lacks CUTLASS or sm_90a";
}

}  // namespace glm4v::cuda::fused

#else

#include <cutlass/epilogue/collective/detail.hpp>
#include <cutlass/gemm/collective/collective_builder.hpp>
#include <cutlass/gemm/kernel/gemm_universal.hpp>

namespace glm4v::cuda::fused {

inline constexpr bool kIsBuilt = true;

using TileShape = cute::Shape<cute::Int<kTileRows>, cute::Int<kTileColumns>, cute::Int<kTileDepth> >;
using ClusterShape = cute::Shape<cute::Int<kClusterRows>, cute::_1, cute::_1>;
using MainLoop =
    cutlass::gemm::collective::CollectiveBuilder<cutlass::arch::Sm90, cutlass::arch::OpClassTensorOp,
                                                 cutlass::bfloat16_t, cutlass::layout::RowMajor, 8, cutlass::bfloat16_t,
                                                 cutlass::layout::ColumnMajor, 8, float, TileShape, ClusterShape,
                                                 cutlass::gemm::collective::StageCountAutoCarveout<1024>,  // barriers
                                                 cutlass::gemm::KernelTmaWarpSpecializedCooperative>::CollectiveOp;

// Whether accumulators lie as tile_sm90.h says, and the emulator with it. CuTe's layouts are sums over the digits of
// both indices, so that powers of two show them whole.
constexpr bool agrees_with_cutlass() {
  const auto index = typename MainLoop::TiledMma{}.get_layoutC_TV();  // (thread, accumulator) -> row + 128 * column
  const auto place = [](int thread, int i) {
    const int row = thread / 128 * 64 + thread % 128 / 32 * 16 + thread % 32 / 4 + 8 * (i / 2 % 2);
    return row + kTileRows * (8 * (i / 4) + 2 * (thread % 4) + i % 2);
  };
  for (int thread = 1; thread < kConsumers; thread *= 2)
    if (index(thread, 0) != place(thread, 0)) return false;
  for (int i = 1; i < kAccumulators; i *= 2)
    if (index(0, i) != place(0, i)) return false;
  return index(0, 0) == 0;
}
static_assert(agrees_with_cutlass());

// What CUTLASS asks of an epilogue beside its work, which needs neither shared memory nor workspace.
template <typename Epilogue>
struct Collective {
  using ElementC = float;
  using ElementD = float;
  using StrideC = cute::Stride<int64_t, cute::_1, int64_t>;
  using StrideD = StrideC;
  using Arguments = typename Epilogue::Arguments;
  using Params = Arguments;
  struct SharedStorage {};

  const Params& arguments;

  CUTLASS_HOST_DEVICE explicit Collective(const Params& params) : arguments(params) {}

  template <typename Shape>
  static Params to_underlying_arguments(const Shape&, const Arguments& arguments, void*) {
    return arguments;
  }
  template <typename Shape>
  static size_t get_workspace_size(const Shape&, const Arguments&) {
    return 0;
  }

  template <typename Shape, typename Tile, typename Coordinates, typename Accumulators, typename Mma, typename Residue>
  CUTLASS_DEVICE void operator()(Shape, Tile, Coordinates tile, const Accumulators& accumulators, Mma, Residue,
                                 int thread, char*) {
    static_assert(decltype(cute::size(accumulators))::value == kAccumulators);
    float d[kAccumulators];
#pragma unroll
    for (int i = 0; i < kAccumulators; ++i) d[i] = accumulators(i);
    Epilogue::run(arguments, d, place_of(cute::get<0>(tile), cute::get<1>(tile), thread / 128));
  }
};

template <typename Epilogue>
struct Gemm {
  using Kernel = cutlass::gemm::kernel::GemmUniversal<
      cute::Shape<int, int, int, int>, MainLoop,
      cutlass::epilogue::collective::detail::Sm90TmaWarpSpecializedAdapter<Collective<Epilogue> >,
      cutlass::gemm::PersistentScheduler>;
  struct Arguments {
    typename Kernel::Params params;
  };

  // Of its 168 registers a thread of the consumers gets 232 and one of the producers keeps 40.
  static constexpr int kThreads = Kernel::MaxThreadsPerBlock, kMinBlocks = 1, kRegisters = 168, kArch = 90;
  static constexpr int kSharedBytes = Kernel::SharedStorageSize;
  static_assert(kSharedBytes <= 227 * 1024);

  static DEVICE void run(const Arguments& a) { Kernel{}(a.params, reinterpret_cast<char*>(shared_memory())); }
};

template <typename Epilogue>
Error launch_gemm(const Factors& f, const typename Epilogue::Arguments& epilogue, Stream stream) {
  using Gemm = fused::Gemm<Epilogue>;
  using Kernel = typename Gemm::Kernel;
  if (!f.rows || !f.columns) return nullptr;
  if (device_arch() < Gemm::kArch) return "this kernel needs a device of compute capability 9.0";
  const auto matrix = [](const Rows& rows) { return static_cast<const cutlass::bfloat16_t*>(rows.data); };
  const typename Kernel::Arguments arguments{
      .mode = cutlass::gemm::GemmUniversalMode::kGemm,
      .problem_shape = {static_cast<int>(f.rows), static_cast<int>(f.columns), static_cast<int>(f.depth), 1},
      .mainloop = {matrix(f.a), {f.a.stride, {}, 0}, matrix(f.b), {f.b.stride, {}, 0}},
      .epilogue = epilogue,
      .hw_info = {.sm_count = multiprocessors()},
      .scheduler = {.max_swizzle_size = group_of(f.rows, f.columns)}};
  typename Gemm::Arguments parameters{Kernel::to_underlying_arguments(arguments, nullptr)};

  const auto function = entry<Gemm, typename Gemm::Arguments, Gemm::kRegisters>;
  if (const cudaError_t error =
          cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, Gemm::kSharedBytes))
    return text_of(error);
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {kClusterRows, 1, 1};
  const cudaLaunchConfig_t config{.gridDim = Kernel::get_grid_shape(parameters.params),
                                  .blockDim = dim3(Gemm::kThreads),
                                  .dynamicSmemBytes = Gemm::kSharedBytes,
                                  .stream = stream,
                                  .attrs = &cluster,
                                  .numAttrs = 1};
  void* pointers[] = {&parameters};
  return text_of(cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(function), pointers));
}

}  // namespace glm4v::cuda::fused

#endif
