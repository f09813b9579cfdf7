// How many OpenMP threads a kernel may use, and loops over independent pieces of work.
#pragma once

#include <cstdint>

namespace glm4v {

// omp_get_max_threads(), or 1 in a forked child, where an OpenMP region hangs under libgomp.
int max_threads();

namespace GLM4V_ISA {
namespace {

// Runs body(i) for i in [0, n). `work` is a rough count of floating-point operations or bytes in all: below 32k of it a
// second thread costs more than it saves (about 5 us on two cores). Results may not depend on which thread runs what.
template <typename Body>
inline void parallel_for(int64_t n, int64_t work, Body&& body) {
  const int threads = work < 32768 ? 1 : max_threads();
  if (threads == 1 || n < 2) {
    for (int64_t i = 0; i < n; ++i) body(i);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < n; ++i) body(i);
}

// The same for pieces that share something: runs body(first, last) once a thread, on equal parts of [0, n) in order.
template <typename Body>
inline void parallel_ranges(int64_t n, int64_t work, Body&& body) {
  const int threads = work < 32768 || n < 2 ? 1 : max_threads();
  if (threads == 1) {
    body(int64_t{0}, n);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int part = 0; part < threads; ++part) body(n * part / threads, n * (part + 1) / threads);
}

// parallel_for for pieces of unequal size: handed out one at a time, largest expected first.
template <typename Body>
inline void parallel_for_uneven(int64_t n, int64_t work, Body&& body) {
  const int threads = work < 32768 ? 1 : max_threads();
  if (threads == 1 || n < 2) {
    for (int64_t i = 0; i < n; ++i) body(i);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (int64_t i = 0; i < n; ++i) body(i);
}

}  // namespace
}  // namespace GLM4V_ISA
}  // namespace glm4v
