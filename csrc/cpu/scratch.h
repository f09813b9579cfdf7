// Working memory of one piece of work, freed at the end of its scope; starts on a cache line, so that no vector
// straddles two. A machine that cannot give it is out of memory.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace glm4v::GLM4V_ISA {
namespace {

template <typename T>
class Scratch {
 public:
  explicit Scratch(int64_t count) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    data_ = static_cast<T*>(std::aligned_alloc(kLine, (bytes / kLine + 1) * kLine));
    if (!data_) std::abort();
  }
  ~Scratch() { std::free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* get() { return data_; }
  T& operator[](int64_t i) { return data_[i]; }

 private:
  static constexpr size_t kLine = 64;
  T* data_;
};

}  // namespace
}  // namespace glm4v::GLM4V_ISA
