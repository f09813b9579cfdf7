// A tensor as the kernels see it: pointer, shape, strides, element type, read from any Python object with torch's
// data_ptr(), shape, stride() and dtype, so that the extension needs no torch to build or to load. Checks name the
// argument.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <string>

#include "backend.h"

namespace glm4v {

struct View {
  static constexpr int kMaxRank = 5;
  const char* name = "";
  bool given = false;  // false for an optional tensor that was None; an empty tensor is given, its pointer may be null
  void* data = nullptr;
  DType dtype = DType::f32;
  int rank = 0;
  int64_t shape[kMaxRank] = {};
  int64_t stride[kMaxRank] = {};  // in elements

  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

[[noreturn]] inline void fail(const char* name, const std::string& what) {
  throw py::value_error(std::string(name) + ": " + what);
}

inline void require(bool holds, const char* name, const std::string& what) {
  if (!holds) fail(name, what);
}

inline std::string shape_text(const View& v) {
  std::string text = "[";
  for (int i = 0; i < v.rank; ++i) text += (i ? ", " : "") + std::to_string(v.shape[i]);
  return text + "]";
}

DType dtype_of(py::handle dtype, const char* name);

// Reads a tensor; the last `contiguous` dimensions must be laid out without gaps (all of them by default).
View view(const py::handle& tensor, const char* name, int contiguous = View::kMaxRank);

// As above, or an empty view for None.
View optional_view(const py::handle& tensor, const char* name, int contiguous = View::kMaxRank);

// -1 stands for any size.
void expect_shape(const View& v, std::initializer_list<int64_t> shape);

void expect_float(const View& v);

void expect_dtype(const View& v, DType dtype);

// cu_seqlens int32 [N+1]: starts at 0, never descends, ends at `total`, where values can be read.
void expect_cu_seqlens(const View& v, int64_t total);

}  // namespace glm4v
