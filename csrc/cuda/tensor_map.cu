// Tensor maps for TMA, encoded by the driver, which is asked for at run time: the module links no libcuda and loads
// without a driver.
#include <cuda.h>

#include "ptx.h"

namespace glm4v::cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode driver_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
  cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
#else
  cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &found);
#endif
  return found == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(function) : nullptr;
}

CUtensorMapSwizzle swizzle_of(Swizzle swizzle) {
  switch (swizzle) {
    case Swizzle::b32:
      return CU_TENSOR_MAP_SWIZZLE_32B;
    case Swizzle::b64:
      return CU_TENSOR_MAP_SWIZZLE_64B;
    case Swizzle::b128:
      return CU_TENSOR_MAP_SWIZZLE_128B;
    case Swizzle::none:
      break;
  }
  return CU_TENSOR_MAP_SWIZZLE_NONE;
}

}  // namespace

Error encode_tensor_map(TensorMap& map, DType dtype, const TensorLayout& layout) {
  static_assert(sizeof(TensorMap) == sizeof(CUtensorMap) && alignof(TensorMap) >= alignof(CUtensorMap));
  static const Encode encode = driver_encode();
  if (!encode) return "the driver has no cuTensorMapEncodeTiled: it is older than CUDA 12";
  const CUtensorMapDataType type =
      dtype == DType::bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  cuuint64_t size[4], stride[3];
  cuuint32_t box[4], step[4] = {1, 1, 1, 1};
  for (int i = 0; i < layout.rank; ++i) size[i] = layout.size[i], box[i] = layout.box[i];
  for (int i = 0; i + 1 < layout.rank; ++i) stride[i] = layout.stride[i];
  const CUresult result =
      encode(reinterpret_cast<CUtensorMap*>(&map), type, layout.rank, const_cast<void*>(layout.data), size, stride, box,
             step, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle_of(layout.swizzle), CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? nullptr : "cuTensorMapEncodeTiled refused the tensor's layout";
}

}  // namespace glm4v::cuda
