// One variant's table of kernels; compiled once an instruction set like the kernels themselves.
#include "kernels.h"

#define GLM4V_STRING(x) #x
#define GLM4V_NAME(x) GLM4V_STRING(x)

namespace glm4v::GLM4V_ISA {

#define GLM4V_DECLARE(name, Arguments) void name(const Arguments&);
GLM4V_FOR_EACH_KERNEL(GLM4V_DECLARE)
#undef GLM4V_DECLARE

#define GLM4V_ENTRY(name, Arguments) .name = name,
extern constinit const Kernels table;
constinit const Kernels table{.isa = GLM4V_NAME(GLM4V_ISA),
                              .width = GLM4V_WIDTH,
                              .native_bf16 = GLM4V_NATIVE_BF16,
                              GLM4V_FOR_EACH_KERNEL(GLM4V_ENTRY)};
#undef GLM4V_ENTRY

}  // namespace glm4v::GLM4V_ISA
