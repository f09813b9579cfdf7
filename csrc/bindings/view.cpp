// Reading tensors from Python and the checks every binding shares.
#include "view.h"

#include <algorithm>

namespace glm4v {

namespace {

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::bf16:
      return "bfloat16";
    case DType::f16:
      return "float16";
    case DType::i32:
      return "int32";
    case DType::i64:
      return "int64";
    case DType::u8:
      return "uint8";
  }
  return "unknown";
}

}  // namespace

DType dtype_of(py::handle dtype, const char* name) {
  constexpr int kDTypes = 6;
  // dtypes are singletons in torch: the text is read once for each, then the object's address decides
  static PyObject* known[kDTypes] = {};
  for (int i = 0; i < kDTypes; ++i)
    if (known[i] == dtype.ptr()) return static_cast<DType>(i);
  const std::string text = py::str(dtype);
  for (int i = 0; i < kDTypes; ++i)
    if (text == std::string("torch.") + dtype_name(static_cast<DType>(i))) {
      known[i] = dtype.inc_ref().ptr();
      return static_cast<DType>(i);
    }
  fail(name, "is " + text + "; expected float32, bfloat16, float16, int32, int64 or uint8");
}

namespace {

struct Names {
  py::str data_ptr{"data_ptr"}, shape{"shape"}, stride{"stride"}, dtype{"dtype"}, is_here{kIsHere};
};

View read(const py::handle& tensor, const char* name) {
  static const Names& names = *new Names;  // never freed: the interpreter ends before static objects do
  View v;
  v.name = name;
  v.given = true;
  require(py::cast<bool>(tensor.attr(names.is_here)), name, std::string("is not in ") + kHere);
  v.data = reinterpret_cast<void*>(py::cast<uintptr_t>(tensor.attr(names.data_ptr)()));
  v.dtype = dtype_of(tensor.attr(names.dtype), name);
  const py::tuple shape = tensor.attr(names.shape);
  const py::tuple stride = tensor.attr(names.stride)();
  v.rank = static_cast<int>(shape.size());
  require(v.rank <= View::kMaxRank, name, "has " + std::to_string(v.rank) + " dimensions; at most 5 are supported");
  for (int i = 0; i < v.rank; ++i) {
    v.shape[i] = py::cast<int64_t>(shape[i]);
    v.stride[i] = py::cast<int64_t>(stride[i]);
  }
  return v;
}

[[noreturn]] void not_a_tensor(const py::handle& tensor, const char* name) {
  throw py::type_error(std::string(name) + ": is a " + Py_TYPE(tensor.ptr())->tp_name +
                       "; expected a dense tensor in " + kHere);
}

}  // namespace

View view(const py::handle& tensor, const char* name, int contiguous) {
  View v;
  try {
    v = read(tensor, name);
  } catch (const py::error_already_set&) {
    not_a_tensor(tensor, name);
  } catch (const py::cast_error&) {
    not_a_tensor(tensor, name);
  }
  if (std::count(v.shape, v.shape + v.rank, 0)) return v;  // any strides will do where there is nothing
  int64_t dense = 1;
  for (int i = v.rank - 1; i >= 0; --i) {
    if (v.rank - i <= contiguous && v.shape[i] > 1 && v.stride[i] != dense)
      fail(name, "dimension " + std::to_string(i) + " has stride " + std::to_string(v.stride[i]) + "; expected " +
                     std::to_string(dense) + " (make it contiguous)");
    dense *= v.shape[i];
  }
  return v;
}

View optional_view(const py::handle& tensor, const char* name, int contiguous) {
  if (tensor.is_none()) return View{.name = name};
  return view(tensor, name, contiguous);
}

void expect_float(const View& v) {
  if (v.dtype == DType::f32 || v.dtype == DType::bf16 || (kHasFloat16 && v.dtype == DType::f16)) return;
  fail(v.name, std::string("is ") + dtype_name(v.dtype) + "; expected float32" +
                   (kHasFloat16 ? ", bfloat16 or float16" : " or bfloat16"));
}

void expect_shape(const View& v, std::initializer_list<int64_t> shape) {
  const auto fits = [](int64_t wanted, int64_t size) { return wanted < 0 || wanted == size; };
  if (std::equal(shape.begin(), shape.end(), v.shape, v.shape + v.rank, fits)) return;
  std::string wanted;
  for (int64_t size : shape) wanted += (wanted.empty() ? "" : ", ") + (size < 0 ? "*" : std::to_string(size));
  fail(v.name, "has shape " + shape_text(v) + "; expected [" + wanted + "]");
}

void expect_dtype(const View& v, DType dtype) {
  if (v.dtype != dtype) fail(v.name, std::string("is ") + dtype_name(v.dtype) + "; expected " + dtype_name(dtype));
}

void expect_cu_seqlens(const View& v, int64_t total) {
  expect_dtype(v, DType::i32);
  expect_shape(v, {-1});
  require(v.shape[0] >= 1, v.name, "is empty; expected at least one entry, 0");
  if constexpr (!kReadsValues) return;
  const int32_t* at = v.as<const int32_t>();
  require(at[0] == 0, v.name, "starts at " + std::to_string(at[0]) + "; expected 0");
  for (int64_t i = 1; i < v.shape[0]; ++i)
    if (at[i] < at[i - 1])
      fail(v.name, "descends from " + std::to_string(at[i - 1]) + " to " + std::to_string(at[i]) + " at entry " +
                       std::to_string(i));
  require(at[v.shape[0] - 1] == total, v.name,
          "ends at " + std::to_string(at[v.shape[0] - 1]) + "; expected " + std::to_string(total) + " tokens");
}

}  // namespace glm4v
