// What the CPU kernels take, and the table of them that each instruction set fills. A new kernel is one struct here (or
// an existing one) and one line in GLM4V_FOR_EACH_KERNEL. Arguments were checked by the bindings; tensors are
// contiguous except where a stride is named.
#pragma once

#include <cstdint>

namespace glm4v {

enum class DType : int { f32 = 0, bf16 = 1, i32 = 2, i64 = 3, u8 = 4 };

// Number of partial sums over rows in a weight's gradient: fixed, so that its bits do not depend on the threads.
constexpr int kPartials = 16;

// rms_norm, add_rms_norm and sandwich_norm, forward: pointers that an operator does not have are null.
//   h = residual + norm(x; post_weight)   (sandwich)     h = x + residual   (add)     h = x   (plain)
//   out = norm(h; weight)
struct RmsNorm {
  DType dtype;
  int64_t rows, columns;
  float eps;
  const void *x, *residual, *post_weight, *weight;  // [rows, columns] twice, [columns] twice
  void *h, *out;                                    // [rows, columns]
};

struct RmsNormBackward {
  DType dtype;
  int64_t rows, columns;
  float eps;
  const void *grad_out, *grad_h;             // [rows, columns]; grad_h null for the plain norm
  const void *x, *h, *post_weight, *weight;  // x and post_weight for the sandwich only; h is the input of the last norm
  void *grad_x, *grad_residual;              // grad_residual for the sandwich only
  float *partial_weight, *partial_post_weight;  // [kPartials, columns] scratch
  float *grad_weight, *grad_post_weight;        // [columns]
};

#define GLM4V_FOR_EACH_KERNEL(KERNEL) \
  KERNEL(rms_norm, RmsNorm)           \
  KERNEL(rms_norm_backward, RmsNormBackward)

struct Kernels {
  const char* isa;
  int width;         // floats in a vector
  bool native_bf16;  // the instruction set multiplies bf16 pairs
#define GLM4V_MEMBER(name, Arguments) void (*name)(const Arguments&);
  GLM4V_FOR_EACH_KERNEL(GLM4V_MEMBER)
#undef GLM4V_MEMBER
};

// The table in use: the best instruction set of this machine, or the one GLM4V_CPU_ISA names.
const Kernels& kernels();

// Every instruction set in this binary and whether this machine can run it.
struct Variant {
  const Kernels* kernels;
  bool runs_here;
};
struct Variants {
  const Variant* first;
  int count;
};
Variants variants();

// Makes `isa` the table in use; false when it is not in the binary or this machine lacks it.
bool use_isa(const char* isa);

}  // namespace glm4v
