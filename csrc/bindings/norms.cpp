// rms_norm in its three forms and swiglu.
#include "operators.h"

namespace glm4v {

namespace {

void rms_norm(py::object x_, py::object residual_, py::object post_weight_, py::object weight_, py::object h_,
              py::object out_, float eps) {
  const View x = view(x_, "x"), weight = view(weight_, "weight"), out = view(out_, "out");
  const View residual = optional_view(residual_, "residual"), post_weight = optional_view(post_weight_, "post_weight"),
             h = optional_view(h_, "h");
  expect_float(x);
  expect_shape(x, {-1, -1});
  const int64_t rows = x.shape[0], columns = x.shape[1];
  for (const View* v : {&weight, &post_weight})
    if (v->given) expect_dtype(*v, x.dtype), expect_shape(*v, {columns});
  for (const View* v : {&residual, &h, &out})
    if (v->given) expect_dtype(*v, x.dtype), expect_shape(*v, {rows, columns});
  require(residual.given == h.given, "h", "is given exactly when residual is");
  require(!post_weight.given || residual.given, "residual", "is needed with post_weight");
  run(kernels().rms_norm, {.dtype = x.dtype,
                           .rows = rows,
                           .columns = columns,
                           .eps = eps,
                           .x = x.data,
                           .residual = residual.data,
                           .post_weight = post_weight.data,
                           .weight = weight.data,
                           .h = h.data,
                           .out = out.data});
}

void rms_norm_backward(py::object grad_out_, py::object grad_h_, py::object x_, py::object h_, py::object post_weight_,
                       py::object weight_, py::object grad_x_, py::object grad_residual_, py::object partials_,
                       py::object grad_weight_, py::object grad_post_weight_, float eps) {
  const View grad_out = view(grad_out_, "grad_out"), h = view(h_, "h"), weight = view(weight_, "weight"),
             grad_x = view(grad_x_, "grad_x"), partials = view(partials_, "partials"),
             grad_weight = view(grad_weight_, "grad_weight");
  const View grad_h = optional_view(grad_h_, "grad_h"), x = optional_view(x_, "x"),
             post_weight = optional_view(post_weight_, "post_weight"),
             grad_residual = optional_view(grad_residual_, "grad_residual"),
             grad_post_weight = optional_view(grad_post_weight_, "grad_post_weight");
  expect_float(h);
  expect_shape(h, {-1, -1});
  const int64_t rows = h.shape[0], columns = h.shape[1];
  for (const View* v : {&grad_out, &grad_h, &x, &grad_x, &grad_residual})
    if (v->given) expect_dtype(*v, h.dtype), expect_shape(*v, {rows, columns});
  for (const View* v : {&weight, &post_weight})
    if (v->given) expect_dtype(*v, h.dtype), expect_shape(*v, {columns});
  for (const View* v : {&grad_weight, &grad_post_weight})
    if (v->given) expect_dtype(*v, DType::f32), expect_shape(*v, {columns});
  const bool sandwich = post_weight.given;
  for (const View* v : {&x, &grad_residual, &grad_post_weight})
    require(v->given == sandwich, v->name, "is given exactly when post_weight is");
  expect_dtype(partials, DType::f32);
  expect_shape(partials, {sandwich ? 2 : 1, kPartials, columns});
  float* const partial = partials.as<float>();
  run(kernels().rms_norm_backward, {.dtype = h.dtype,
                                    .rows = rows,
                                    .columns = columns,
                                    .eps = eps,
                                    .grad_out = grad_out.data,
                                    .grad_h = grad_h.data,
                                    .x = x.data,
                                    .h = h.data,
                                    .post_weight = post_weight.data,
                                    .weight = weight.data,
                                    .grad_x = grad_x.data,
                                    .grad_residual = grad_residual.data,
                                    .partials = kPartials,
                                    .partial_weight = partial,
                                    .partial_post_weight = sandwich ? partial + kPartials * columns : nullptr,
                                    .grad_weight = grad_weight.as<float>(),
                                    .grad_post_weight = grad_post_weight.as<float>()});
}

void swiglu(py::object gate_up_, py::object grad_out_, py::object out_) {
  const View gate_up = view(gate_up_, "gate_up"), out = view(out_, "out"),
             grad_out = optional_view(grad_out_, "grad_out");
  expect_float(gate_up);
  expect_shape(gate_up, {-1, -1});
  require(gate_up.shape[1] % 2 == 0, "gate_up",
          "has " + std::to_string(gate_up.shape[1]) + " columns; expected an even number");
  const int64_t rows = gate_up.shape[0], columns = gate_up.shape[1] / 2;
  for (const View* v : {&out, &grad_out})
    if (v->given) expect_dtype(*v, gate_up.dtype);
  expect_shape(out, {rows, grad_out.given ? 2 * columns : columns});
  if (grad_out.given) expect_shape(grad_out, {rows, columns});
  run(grad_out.given ? kernels().swiglu_backward : kernels().swiglu, {.dtype = gate_up.dtype,
                                                                      .rows = rows,
                                                                      .columns = columns,
                                                                      .gate_up = gate_up.data,
                                                                      .grad_out = grad_out.data,
                                                                      .out = out.data});
}

}  // namespace

void bind_norms(py::module_& m) {
  def(m, "rms_norm", rms_norm);
  def(m, "rms_norm_backward", rms_norm_backward);
  def(m, "swiglu", swiglu, "Forward, or with grad_out backward.");
}

}  // namespace glm4v
