// The table of CPU kernels that each instruction set fills, and the choice among them.
#pragma once

#include "../operators.h"

namespace glm4v {

// Number of partial sums over rows in a weight's gradient: fixed, so that its bits do not depend on the threads.
constexpr int kPartials = 16;

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
