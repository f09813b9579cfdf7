// The sm_90a attention kernels by themselves, for tests.
#include "../../csrc/bindings/operators.h"
#include "../../csrc/cuda/attention/attention_sm90.h"

namespace glm4v {

namespace {

TokenHeads tokens_of(const View& x) { return {.data = x.data, .token_stride = x.stride[0]}; }

PackedAttention arguments(const View& q, const View& k, const View& v, const View& out, const View& lse,
                          const View& cu_q, const View& cu_k, bool causal, float scale) {
  return {.dtype = q.dtype,
          .sequences = cu_q.shape[0] - 1,
          .queries = q.shape[0],
          .keys = k.shape[0],
          .heads = static_cast<int>(q.shape[1]),
          .kv_heads = static_cast<int>(k.shape[1]),
          .head_dim = static_cast<int>(q.shape[2]),
          .causal = causal,
          .scale = scale,
          .cu_seqlens_q = cu_q.as<const int32_t>(),
          .cu_seqlens_k = cu_k.as<const int32_t>(),
          .q = tokens_of(q),
          .k = tokens_of(k),
          .v = tokens_of(v),
          .out = out.data,
          .log_sum_exp = lse.as<float>()};
}

template <typename Arguments>
void run_sm90(cuda::Error (*kernel)(const Arguments&, void*, cuda::Stream), const Arguments& a) {
  require(cuda::takes_sm90(a), "q", "is not for sm_90");
  std::vector<uint8_t> memory(static_cast<size_t>(cuda::workspace_sm90(a)) + 256, 0xff);
  void* const workspace = memory.data() + 256 - reinterpret_cast<uintptr_t>(memory.data()) % 256;
  if (const cuda::Error error = kernel(a, workspace, stream)) throw std::runtime_error(std::string("CUDA: ") + error);
}

void forward(py::object q, py::object k, py::object v, py::object out, py::object lse, py::object cu_q, py::object cu_k,
             bool causal, float scale) {
  run_sm90(cuda::packed_attention_sm90,
           arguments(view(q, "q", 2), view(k, "k", 2), view(v, "v", 2), view(out, "out"), view(lse, "lse"),
                     view(cu_q, "cu_q"), view(cu_k, "cu_k"), causal, scale));
}

bool takes(py::object q, py::object k, py::object v, py::object out, py::object lse, py::object cu_q, py::object cu_k,
           float scale) {
  return cuda::takes_sm90(arguments(view(q, "q", 2), view(k, "k", 2), view(v, "v", 2), view(out, "out"),
                                    view(lse, "lse"), view(cu_q, "cu_q"), view(cu_k, "cu_k"), false, scale));
}

// delta as the caller computed it; without sums the gradients of keys and values are written whole.
void backward(py::object grad_out, py::object q, py::object k, py::object v, py::object out, py::object lse,
              py::object delta_, py::object grad_q_, py::object grad_k_, py::object grad_v_, py::object sum_k_,
              py::object sum_v_, py::object cu_q, py::object cu_k, bool causal, float scale) {
  const View delta = view(delta_, "delta"), grad_q = view(grad_q_, "grad_q"), grad_k = view(grad_k_, "grad_k"),
             grad_v = view(grad_v_, "grad_v"), sum_k = optional_view(sum_k_, "sum_k"),
             sum_v = optional_view(sum_v_, "sum_v");
  const PackedAttention a = arguments(view(q, "q", 2), view(k, "k", 2), view(v, "v", 2), view(out, "out"),
                                      view(lse, "lse"), view(cu_q, "cu_q"), view(cu_k, "cu_k"), causal, scale);
  run_sm90<PackedAttentionBackward>(cuda::packed_attention_backward_sm90,
                                    {.forward = a,
                                     .grad_out = tokens_of(view(grad_out, "grad_out", 2)),
                                     .delta = delta.as<float>(),
                                     .parts = sum_k.given ? static_cast<int>(sum_k.shape[0]) : 1,
                                     .q = {grad_q.data, nullptr},
                                     .k = {grad_k.data, sum_k.as<float>()},
                                     .v = {grad_v.data, sum_v.as<float>()}});
}

}  // namespace

void bind_attention_sm90(py::module_& m) {
  m.def("takes_sm90", takes);
  def(m, "packed_attention_sm90", forward);
  def(m, "packed_attention_backward_sm90", backward);
}

}  // namespace glm4v
