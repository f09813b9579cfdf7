// patch_embed of still images: the products with both temporal slices of the weight in one pass over the patches, added
// in float32 together with the bias. The slices' channels take turns in eights as columns of the product, so that a
// thread holds both parts of its sums. Against a product over doubled patches half of what is read of these is spared;
// a depth of 588 takes ten steps of 64 for each slice's 9.2.
#include "gemm.h"

namespace glm4v::cuda {

namespace fused {
namespace {

struct SumOfSlices {
  using Arguments = FusedPatchEmbed;

  static DEVICE void run(const Arguments& a, float (&d)[kAccumulators], Place place) {
    const int64_t first = place.column() / 2;
    const auto channels = static_cast<int>(least(a.channels - first, kTileColumns / 2));
    if (channels <= 0) return;
    const bf16* const bias = static_cast<const bf16*>(a.bias) + first;
    float sum[kAccumulators / 2];
#pragma unroll
    for (int i = 0; i < kAccumulators / 2; i += 4) {
      const int channel = sm90::accumulator_column(i);
      float b[2] = {};
      if (channel < channels) load_constant(b, bias + channel);
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[i + j] = d[2 * i + j] + d[2 * i + 4 + j] + b[j % 2];
    }
    const int64_t rows = least(a.patches - place.row, kTileRows);
    sm90::store_rows(sum, {1.0f, 1.0f}, static_cast<bf16*>(a.out) + place.row * a.channels + first, a.channels,
                     static_cast<int>(rows), channels);
  }
};

}  // namespace
}  // namespace fused

Error fused_patch_embed(const FusedPatchEmbed& a, Stream stream) {
  return fused::launch_gemm<fused::SumOfSlices>({a.x, a.slices, a.patches, 2 * a.channels, a.width}, a, stream);
}

}  // namespace glm4v::cuda
