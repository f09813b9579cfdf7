// wgmma.mma_async m64nNk16 for N = 16, 32, ..., 256: the lists of N / 2 accumulators that inline PTX wants spelled out.
//   d: warp w of the warpgroup holds rows 16w to 16w + 15; d[4j], d[4j + 1]: row g, columns 8j + 2t, 8j + 2t + 1;
//      d[4j + 2], d[4j + 3]: row g + 8
//   a in registers: as mma_16x8x16's, rows 16w to 16w + 15
// The descriptors are matrix_descriptor's.
#pragma once

#include "ptx.h"

namespace glm4v::cuda {

template <int N>
struct Wgmma;

// clang-format off: one line for each eight accumulators
#define GLM4V_NAMES_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define GLM4V_NAMES_16 GLM4V_NAMES_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define GLM4V_NAMES_24 GLM4V_NAMES_16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define GLM4V_NAMES_32 GLM4V_NAMES_24 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define GLM4V_NAMES_40 GLM4V_NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define GLM4V_NAMES_48 GLM4V_NAMES_40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define GLM4V_NAMES_56 GLM4V_NAMES_48 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define GLM4V_NAMES_64 GLM4V_NAMES_56 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define GLM4V_NAMES_72 GLM4V_NAMES_64 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define GLM4V_NAMES_80 GLM4V_NAMES_72 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define GLM4V_NAMES_88 GLM4V_NAMES_80 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define GLM4V_NAMES_96 GLM4V_NAMES_88 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define GLM4V_NAMES_104 GLM4V_NAMES_96 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define GLM4V_NAMES_112 GLM4V_NAMES_104 ", %104, %105, %106, %107, %108, %109, %110, %111"
#define GLM4V_NAMES_120 GLM4V_NAMES_112 ", %112, %113, %114, %115, %116, %117, %118, %119"
#define GLM4V_NAMES_128 GLM4V_NAMES_120 ", %120, %121, %122, %123, %124, %125, %126, %127"

#define GLM4V_EIGHT(i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define GLM4V_OPERANDS_8 GLM4V_EIGHT(0)
#define GLM4V_OPERANDS_16 GLM4V_OPERANDS_8, GLM4V_EIGHT(8)
#define GLM4V_OPERANDS_24 GLM4V_OPERANDS_16, GLM4V_EIGHT(16)
#define GLM4V_OPERANDS_32 GLM4V_OPERANDS_24, GLM4V_EIGHT(24)
#define GLM4V_OPERANDS_40 GLM4V_OPERANDS_32, GLM4V_EIGHT(32)
#define GLM4V_OPERANDS_48 GLM4V_OPERANDS_40, GLM4V_EIGHT(40)
#define GLM4V_OPERANDS_56 GLM4V_OPERANDS_48, GLM4V_EIGHT(48)
#define GLM4V_OPERANDS_64 GLM4V_OPERANDS_56, GLM4V_EIGHT(56)
#define GLM4V_OPERANDS_72 GLM4V_OPERANDS_64, GLM4V_EIGHT(64)
#define GLM4V_OPERANDS_80 GLM4V_OPERANDS_72, GLM4V_EIGHT(72)
#define GLM4V_OPERANDS_88 GLM4V_OPERANDS_80, GLM4V_EIGHT(80)
#define GLM4V_OPERANDS_96 GLM4V_OPERANDS_88, GLM4V_EIGHT(88)
#define GLM4V_OPERANDS_104 GLM4V_OPERANDS_96, GLM4V_EIGHT(96)
#define GLM4V_OPERANDS_112 GLM4V_OPERANDS_104, GLM4V_EIGHT(104)
#define GLM4V_OPERANDS_120 GLM4V_OPERANDS_112, GLM4V_EIGHT(112)
#define GLM4V_OPERANDS_128 GLM4V_OPERANDS_120, GLM4V_EIGHT(120)
// clang-format on

// COUNT = N / 2 accumulators; P0, P1, ... are the numbers of the operands after them.
#define GLM4V_WGMMA_ASM(N, COUNT, TYPE, A, B, P, REST, ...)                                             \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" P                                                   \
               ", 0;\n"                                                                                 \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" GLM4V_NAMES_##COUNT \
               "}, " A ", %" B ", p, 1, 1" REST ";\n}"                                                  \
               : GLM4V_OPERANDS_##COUNT                                                                 \
               : __VA_ARGS__                                                                            \
               : "memory")

#define GLM4V_WGMMA(N, COUNT, P0, P1, P2, P3, P4, P5, P6)                                                             \
  template <>                                                                                                         \
  struct Wgmma<N> {                                                                                                   \
    template <typename T, Major kMajorA, Major kMajorB>                                                               \
    static DEVICE void shared(float (&d)[COUNT], uint64_t a, uint64_t b, bool add) {                                  \
      if constexpr (std::is_same_v<T, bf16>) {                                                                        \
        GLM4V_WGMMA_ASM(N, COUNT, "bf16", "%" #P0, #P1, #P2, ", %" #P3 ", %" #P4, "l"(a), "l"(b),                     \
                        "r"(static_cast<int>(add)), "n"(static_cast<int>(kMajorA)), "n"(static_cast<int>(kMajorB)));  \
      } else {                                                                                                        \
        GLM4V_WGMMA_ASM(N, COUNT, "f16", "%" #P0, #P1, #P2, ", %" #P3 ", %" #P4, "l"(a), "l"(b),                      \
                        "r"(static_cast<int>(add)), "n"(static_cast<int>(kMajorA)), "n"(static_cast<int>(kMajorB)));  \
      }                                                                                                               \
    }                                                                                                                 \
    template <typename T, Major kMajorB>                                                                              \
    static DEVICE void registers(float (&d)[COUNT], const uint32_t (&a)[4], uint64_t b, bool add) {                   \
      if constexpr (std::is_same_v<T, bf16>) {                                                                        \
        GLM4V_WGMMA_ASM(N, COUNT, "bf16", "{%" #P0 ", %" #P1 ", %" #P2 ", %" #P3 "}", #P4, #P5, ", %" #P6, "r"(a[0]), \
                        "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)),                          \
                        "n"(static_cast<int>(kMajorB)));                                                              \
      } else {                                                                                                        \
        GLM4V_WGMMA_ASM(N, COUNT, "f16", "{%" #P0 ", %" #P1 ", %" #P2 ", %" #P3 "}", #P4, #P5, ", %" #P6, "r"(a[0]),  \
                        "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)),                          \
                        "n"(static_cast<int>(kMajorB)));                                                              \
      }                                                                                                               \
    }                                                                                                                 \
  };

GLM4V_WGMMA(16, 8, 8, 9, 10, 11, 12, 13, 14)
GLM4V_WGMMA(32, 16, 16, 17, 18, 19, 20, 21, 22)
GLM4V_WGMMA(48, 24, 24, 25, 26, 27, 28, 29, 30)
GLM4V_WGMMA(64, 32, 32, 33, 34, 35, 36, 37, 38)
GLM4V_WGMMA(80, 40, 40, 41, 42, 43, 44, 45, 46)
GLM4V_WGMMA(96, 48, 48, 49, 50, 51, 52, 53, 54)
GLM4V_WGMMA(112, 56, 56, 57, 58, 59, 60, 61, 62)
GLM4V_WGMMA(128, 64, 64, 65, 66, 67, 68, 69, 70)
GLM4V_WGMMA(144, 72, 72, 73, 74, 75, 76, 77, 78)
GLM4V_WGMMA(160, 80, 80, 81, 82, 83, 84, 85, 86)
GLM4V_WGMMA(176, 88, 88, 89, 90, 91, 92, 93, 94)
GLM4V_WGMMA(192, 96, 96, 97, 98, 99, 100, 101, 102)
GLM4V_WGMMA(208, 104, 104, 105, 106, 107, 108, 109, 110)
GLM4V_WGMMA(224, 112, 112, 113, 114, 115, 116, 117, 118)
GLM4V_WGMMA(240, 120, 120, 121, 122, 123, 124, 125, 126)
GLM4V_WGMMA(256, 128, 128, 129, 130, 131, 132, 133, 134)

// d [64, N] (+)= a [64, 16] * b [16, N], N = 2 * the length of d; without `add` d is overwritten.
template <typename T, Major kMajorA, Major kMajorB, int kCount>
DEVICE void wgmma(float (&d)[kCount], uint64_t a, uint64_t b, bool add) {
  Wgmma<2 * kCount>::template shared<T, kMajorA, kMajorB>(d, a, b, add);
}

template <typename T, Major kMajorB, int kCount>
DEVICE void wgmma(float (&d)[kCount], const uint32_t (&a)[4], uint64_t b, bool add) {
  Wgmma<2 * kCount>::template registers<T, kMajorB>(d, a, b, add);
}

}  // namespace glm4v::cuda
