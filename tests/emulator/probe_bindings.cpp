// The probes for Python: tensors become pointers; tests give the shapes that probes.h names.
#include "../../csrc/bindings/operators.h"
#include "probes.h"

namespace glm4v {

namespace cuda {
#define GLM4V_DECLARE(name, Arguments) Error name(const Arguments&, Stream);
GLM4V_FOR_EACH_PROBE(GLM4V_DECLARE)
#undef GLM4V_DECLARE
}  // namespace cuda

namespace {

void matrices(py::object in_, py::object out_, int count, bool transposed, bool store) {
  const View in = view(in_, "in"), out = view(out_, "out");
  const View &rows = store ? out : in, &registers = store ? in : out;
  require(count == 1 || count == 2 || count == 4, "count", "is not 1, 2 or 4");
  expect_shape(rows, {8 * count, 8});
  expect_dtype(rows, DType::bf16);
  expect_shape(registers, {32, count});
  expect_dtype(registers, DType::i32);
  run(cuda::probe_matrices, cuda::MatrixProbe{in.data, out.data, count, transposed, store});
}

void mma(py::object dtype, py::object a_, py::object b_, py::object d_) {
  const View a = view(a_, "a"), b = view(b_, "b"), d = view(d_, "d");
  expect_shape(a, {32, 4});
  expect_shape(b, {32, 2});
  expect_shape(d, {32, 4});
  expect_dtype(a, DType::i32);
  expect_dtype(b, DType::i32);
  expect_dtype(d, DType::f32);
  run(cuda::probe_mma, cuda::MmaProbe{dtype_of(dtype, "dtype"), a.data, b.data, d.as<float>()});
}

void copy(py::object in_, py::object out_) {
  const View in = view(in_, "in"), out = view(out_, "out");
  expect_dtype(in, DType::u8);
  expect_dtype(out, DType::u8);
  expect_shape(in, {-1});
  expect_shape(out, {-1, 512});
  run(cuda::probe_copy, cuda::CopyProbe{in.as<const uint8_t>(), out.as<uint8_t>(), in.shape[0], out.shape[0]});
}

// Axes are given outermost first, as torch has them.
void tma(py::object source_, py::object bytes_, const std::vector<int>& box, const std::vector<int>& from,
         int swizzle) {
  const View source = view(source_, "source"), bytes = view(bytes_, "bytes");
  const auto rank = static_cast<size_t>(source.rank);
  require(rank >= 2 && rank <= 4, "source", "has not 2 to 4 dimensions");
  require(box.size() == rank && from.size() == rank, "box", "and from: one number for each axis");
  cuda::TmaProbe p{source.data, bytes.data, source.rank, swizzle, {}, {}, {}};
  int64_t count = 1;
  for (size_t i = 0; i < rank; ++i) {
    const size_t axis = rank - 1 - i;
    p.size[i] = source.shape[axis], p.box[i] = box[axis], p.from[i] = from[axis];
    count *= box[axis];
  }
  expect_shape(bytes, {count});
  for (const View* v : {&source, &bytes}) expect_dtype(*v, DType::bf16);
  run(cuda::probe_tma, p);
}

void wgmma(py::object a_, py::object b_, py::object out_, bool a_mn_major, bool b_mn_major, bool a_in_registers,
           int swizzle) {
  const View a = view(a_, "a"), b = view(b_, "b"), out = view(out_, "out");
  expect_dtype(out, DType::f32);
  expect_shape(out, {64, -1});
  const int64_t n = out.shape[1];
  expect_shape(a, {64, 64});
  b_mn_major ? expect_shape(b, {64, n}) : expect_shape(b, {n, 64});
  expect_dtype(b, a.dtype);
  run(cuda::probe_wgmma, cuda::WgmmaProbe{a.dtype, static_cast<int>(n), swizzle, a_in_registers, a_mn_major, b_mn_major,
                                          a.data, b.data, out.as<float>()});
}

void roles(py::object out_) {
  const View out = view(out_, "out");
  expect_dtype(out, DType::f32);
  expect_shape(out, {-1, 2, 128});
  run(cuda::probe_roles, cuda::RolesProbe{static_cast<int>(out.shape[0]), out.as<float>()});
}

}  // namespace

void bind_probes(py::module_& m) {
  def(m, "matrices", matrices);
  def(m, "mma", mma);
  def(m, "copy", copy);
  def(m, "tma", tma);
  def(m, "wgmma", wgmma);
  def(m, "roles", roles);
}

}  // namespace glm4v
