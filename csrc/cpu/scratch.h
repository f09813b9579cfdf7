// Working memory of one piece of work, freed at the end of its scope. A machine that cannot give it is out of memory.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace glm4v::GLM4V_ISA {
namespace {

template <typename T>
class Scratch {
 public:
  explicit Scratch(int64_t count) : data_(static_cast<T*>(std::malloc(static_cast<size_t>(count) * sizeof(T) + 1))) {
    if (!data_) std::abort();
  }
  ~Scratch() { std::free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* get() { return data_; }
  T& operator[](int64_t i) { return data_[i]; }

 private:
  T* data_;
};

}  // namespace
}  // namespace glm4v::GLM4V_ISA
