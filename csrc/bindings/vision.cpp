// patchify, add_position_embedding and rope_2d.
#include "operators.h"

namespace glm4v {

std::vector<Grid> read_grids(const View& grid_thw, int64_t patches) {
  expect_dtype(grid_thw, DType::i64);
  expect_shape(grid_thw, {-1, 3});
  constexpr int64_t kLimit = int64_t{1} << 20;  // of each number, so that no product overflows
  std::vector<Grid> grids;
  int64_t first_patch = 0, first_row = 0;
  for (int64_t i = 0; i < grid_thw.shape[0]; ++i) {
    const int64_t* g = grid_thw.as<const int64_t>() + 3 * i;
    const auto text = [&] {
      return "row " + std::to_string(i) + " is (" + std::to_string(g[0]) + ", " + std::to_string(g[1]) + ", " +
             std::to_string(g[2]) + ")";
    };
    for (int axis = 0; axis < 3; ++axis)
      if (g[axis] <= 0 || g[axis] >= kLimit) fail(grid_thw.name, text() + "; expected numbers from 1 to 1048575");
    if (g[1] % 2 || g[2] % 2) fail(grid_thw.name, text() + "; expected even height and width");
    grids.push_back({g[0], g[1], g[2], first_patch, first_row});
    first_patch += g[0] * g[1] * g[2];
    first_row += g[0] * g[1];
    if (first_patch > patches)
      fail(grid_thw.name, "holds more than the " + std::to_string(patches) + " patches given, at " + text());
  }
  require(first_patch == patches, grid_thw.name,
          "holds " + std::to_string(first_patch) + " patches; expected " + std::to_string(patches));
  return grids;
}

Grids all_of(const std::vector<Grid>& grids) {
  if (grids.empty()) return {nullptr, 0, 0, 0};
  const Grid& last = grids.back();
  return {grids.data(), static_cast<int64_t>(grids.size()), last.first_row + last.frames * last.height,
          last.first_patch + last.frames * last.height * last.width};
}

namespace {

int table_side(int64_t entries, const char* name) {
  int side = 0;
  while (int64_t{side} * side < entries && side < 256) ++side;
  require(int64_t{side} * side == entries && side > 0, name,
          "has " + std::to_string(entries) + " entries; expected a square of at most 256 x 256");
  return side;
}

void add_position_embedding(py::object x_, py::object table_, py::object grid_thw_, py::object out_) {
  const View x = view(x_, "x"), table = view(table_, "table"), out = view(out_, "out");
  expect_float(x);
  expect_shape(x, {-1, -1});
  expect_dtype(table, x.dtype);
  expect_shape(table, {-1, x.shape[1]});
  expect_dtype(out, x.dtype);
  expect_shape(out, {x.shape[0], x.shape[1]});
  const std::vector<Grid> grids = read_grids(view(grid_thw_, "grid_thw"), x.shape[0]);
  run(kernels().add_position_embedding, {.dtype = x.dtype,
                                         .columns = x.shape[1],
                                         .side = table_side(table.shape[0], "table"),
                                         .grids = all_of(grids),
                                         .x = x.data,
                                         .table = table.data,
                                         .out = out.data,
                                         .grad_table = nullptr});
}

void add_position_embedding_backward(py::object grad_, py::object grid_thw_, py::object grad_table_) {
  const View grad = view(grad_, "grad"), grad_table = view(grad_table_, "grad_table");
  expect_float(grad);
  expect_shape(grad, {-1, -1});
  expect_dtype(grad_table, DType::f32);
  expect_shape(grad_table, {-1, grad.shape[1]});
  const std::vector<Grid> grids = read_grids(view(grid_thw_, "grid_thw"), grad.shape[0]);
  run(kernels().add_position_embedding_backward, {.dtype = grad.dtype,
                                                  .columns = grad.shape[1],
                                                  .side = table_side(grad_table.shape[0], "grad_table"),
                                                  .grids = all_of(grids),
                                                  .x = grad.data,
                                                  .table = nullptr,
                                                  .out = nullptr,
                                                  .grad_table = grad_table.as<float>()});
}

void rope_2d(py::object q_, py::object k_, py::object grid_thw_, py::object q_out_, py::object k_out_, double theta,
             bool inverse) {
  const View q = view(q_, "q", 2), k = view(k_, "k", 2), q_out = view(q_out_, "q_out"), k_out = view(k_out_, "k_out");
  const int64_t head_dim = expect_heads(q, k, q_out, k_out);
  require(head_dim % 4 == 0, "q", "has heads of " + std::to_string(head_dim) + "; expected a multiple of 4");
  require(theta > 0, "theta", "is not positive");
  const std::vector<Grid> grids = read_grids(view(grid_thw_, "grid_thw"), q.shape[0]);
  run(kernels().rope_2d, {.dtype = q.dtype,
                          .head_dim = static_cast<int>(head_dim),
                          .inverse = inverse,
                          .theta = theta,
                          .grids = all_of(grids),
                          .queries_and_keys = {heads_of(q, q_out), heads_of(k, k_out)}});
}

void patchify(py::object frames_, py::object out_, int64_t height, int64_t width, int span,
              const std::array<float, 3>& scale, const std::array<float, 3>& shift) {
  const View frames = view(frames_, "images"), out = view(out_, "out");
  expect_dtype(frames, DType::u8);
  expect_shape(frames, {-1, -1, -1, 3});
  expect_float(out);
  require(span == 1 || span == 2, "span", "is " + std::to_string(span) + "; expected 1 or 2");
  for (int axis = 0; axis < 3; ++axis)
    require(frames.shape[axis] > 0 && frames.shape[axis] < (1 << 24), "images",
            "has shape " + shape_text(frames) + "; expected sizes from 1 to 16777215");
  for (int64_t size : {height, width})
    require(size > 0 && size % 28 == 0 && size < (1 << 24), "sizes",
            "holds (" + std::to_string(height) + ", " + std::to_string(width) + "); expected multiples of 28");
  const int64_t times = (frames.shape[0] + span - 1) / span;
  expect_shape(out, {times * (height / 14) * (width / 14), int64_t{3} * span * 196});
  run(kernels().patchify, {.dtype = out.dtype,
                           .frames = frames.as<const uint8_t>(),
                           .frame_count = frames.shape[0],
                           .height = frames.shape[1],
                           .width = frames.shape[2],
                           .out_height = height,
                           .out_width = width,
                           .span = span,
                           .scale = {scale[0], scale[1], scale[2]},
                           .shift = {shift[0], shift[1], shift[2]},
                           .out = out.data});
}

}  // namespace

void bind_vision(py::module_& m) {
  m.def("add_position_embedding", add_position_embedding);
  m.def("add_position_embedding_backward", add_position_embedding_backward);
  m.def("rope_2d", rope_2d);
  m.def("patchify", patchify);
}

}  // namespace glm4v
