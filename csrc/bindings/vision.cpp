// patchify, add_position_embedding and rope_2d.
#include <vector>

#include "operators.h"

namespace glm4v {

namespace {

// grid_thw int64 [N, 3]: on the CPU numbers from 1 on, height and width even, that hold `patches` patches together.
class CheckedGrids {
 public:
  CheckedGrids(const View& grid_thw, int64_t patches) : patches_(patches) {
    expect_dtype(grid_thw, DType::i64);
    expect_shape(grid_thw, {-1, 3});
    all_ = {.grid = nullptr,
            .grid_thw = grid_thw.as<const int64_t>(),
            .count = grid_thw.shape[0],
            .rows = 0,
            .patches = patches};
    if constexpr (kReadsValues) number(grid_thw.name);
  }

  const Grids& all() const { return all_; }

 private:
  void number(const char* name) {
    constexpr int64_t kLimit = int64_t{1} << 20;  // of each number, so that no product overflows
    int64_t first_patch = 0;
    for (int64_t i = 0; i < all_.count; ++i) {
      const int64_t* g = all_.grid_thw + 3 * i;
      const auto text = [&] {
        return "row " + std::to_string(i) + " is (" + std::to_string(g[0]) + ", " + std::to_string(g[1]) + ", " +
               std::to_string(g[2]) + ")";
      };
      for (int axis = 0; axis < 3; ++axis)
        if (g[axis] <= 0 || g[axis] >= kLimit) fail(name, text() + "; expected numbers from 1 to 1048575");
      if (g[1] % 2 || g[2] % 2) fail(name, text() + "; expected even height and width");
      numbered_.push_back({g[0], g[1], g[2], first_patch, all_.rows});
      first_patch += g[0] * g[1] * g[2];
      all_.rows += g[0] * g[1];
      if (first_patch > patches_)
        fail(name, "holds more than the " + std::to_string(patches_) + " patches given, at " + text());
    }
    require(first_patch == patches_, name,
            "holds " + std::to_string(first_patch) + " patches; expected " + std::to_string(patches_));
    all_.grid = numbered_.data();
  }

  int64_t patches_;
  std::vector<Grid> numbered_;
  Grids all_;
};

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
  const CheckedGrids grids(view(grid_thw_, "grid_thw"), x.shape[0]);
  run(kernels().add_position_embedding, {.dtype = x.dtype,
                                         .columns = x.shape[1],
                                         .side = table_side(table.shape[0], "table"),
                                         .grids = grids.all(),
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
  const CheckedGrids grids(view(grid_thw_, "grid_thw"), grad.shape[0]);
  run(kernels().add_position_embedding_backward, {.dtype = grad.dtype,
                                                  .columns = grad.shape[1],
                                                  .side = table_side(grad_table.shape[0], "grad_table"),
                                                  .grids = grids.all(),
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
  const CheckedGrids grids(view(grid_thw_, "grid_thw"), q.shape[0]);
  run(kernels().rope_2d, {.dtype = q.dtype,
                          .head_dim = static_cast<int>(head_dim),
                          .inverse = inverse,
                          .theta = theta,
                          .grids = grids.all(),
                          .queries_and_keys = {heads_of(q, q_out), heads_of(k, k_out)}});
}

// The same checks for grids that a device holds, on a copy.
void check_grids(py::object grid_thw, int64_t patches) { CheckedGrids(view(grid_thw, "grid_thw"), patches); }

// scratch uint8: on a CUDA device patchify_scratch(...) bytes where images are resized.
void patchify(py::object frames_, py::object out_, py::object scratch_, int64_t height, int64_t width, int span,
              const std::array<float, 3>& scale, const std::array<float, 3>& shift) {
  const View frames = view(frames_, "images"), out = view(out_, "out"), scratch = view(scratch_, "scratch");
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
  const Patchify a = {.dtype = out.dtype,
                      .frames = frames.as<const uint8_t>(),
                      .frame_count = frames.shape[0],
                      .height = frames.shape[1],
                      .width = frames.shape[2],
                      .out_height = height,
                      .out_width = width,
                      .span = span,
                      .scale = {scale[0], scale[1], scale[2]},
                      .shift = {shift[0], shift[1], shift[2]},
                      .out = out.data,
                      .scratch = scratch.data};
  expect_dtype(scratch, DType::u8);
  const int64_t needed = patchify_scratch(a);
  require(scratch.numel() >= needed && reinterpret_cast<uintptr_t>(scratch.data) % 16 == 0, "scratch",
          "has " + std::to_string(scratch.numel()) + " bytes; expected " + std::to_string(needed) +
              " that start at a multiple of 16");
  run(kernels().patchify, a);
}

}  // namespace

void bind_vision(py::module_& m) {
  def(m, "add_position_embedding", add_position_embedding);
  def(m, "add_position_embedding_backward", add_position_embedding_backward);
  def(m, "rope_2d", rope_2d);
  def(m, "patchify", patchify);
  if constexpr (kReadsValues) def(m, "check_grids", check_grids, "Raises where grid_thw does not hold these patches.");
}

}  // namespace glm4v
