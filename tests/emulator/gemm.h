// fused/gemm.h for g++: the product by plain sums in place of CUTLASS, each tile's accumulators where wgmma leaves
// them.
#pragma once

namespace glm4v::cuda::fused {

inline constexpr bool kIsBuilt = true;

template <typename Epilogue>
struct Gemm {
  struct Arguments {
    Factors factors;
    typename Epilogue::Arguments epilogue;
  };
  static constexpr int kThreads = kConsumers, kArch = 90;

  static float element(const Factors& f, int64_t row, int64_t column) {
    if (row >= f.rows || column >= f.columns) return 0;  // as TMA reads beyond a matrix
    const bf16* const a = static_cast<const bf16*>(f.a.data) + row * f.a.stride;
    const bf16* const b = static_cast<const bf16*>(f.b.data) + column * f.b.stride;
    float sum = 0;
    for (int64_t k = 0; k < f.depth; ++k) sum += to_float(a[k]) * to_float(b[k]);
    return sum;
  }

  static void run(const Arguments& a) {
    const Place place = place_of(block_index().y, block_index().x, thread_index() / 128);
    float d[kAccumulators];
    for (int i = 0; i < kAccumulators; ++i)
      d[i] = element(a.factors, place.row + 8 * (i / 2 % 2), place.column() + sm90::accumulator_column(i));
    Epilogue::run(a.epilogue, d, place);
  }
};

// In whole groups of tiles, as CUTLASS does.
template <typename Epilogue>
Error launch_gemm(const Factors& f, const typename Epilogue::Arguments& epilogue, Stream stream) {
  if (!f.rows || !f.columns) return nullptr;
  const int group = group_of(f.rows, f.columns);
  const Blocks blocks{round_up(tiles_of(f.columns, kTileColumns), group),
                      round_up(tiles_of(f.rows, kTileRows), group * kClusterRows)};
  return launch<Gemm<Epilogue>>(blocks, 0, stream, typename Gemm<Epilogue>::Arguments{f, epilogue});
}

}  // namespace glm4v::cuda::fused
