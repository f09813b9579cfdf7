// The matrix product all of attention is made of: C [rows, columns] (+)= A [rows, depth] B [depth, columns] on tiles
// that lie in cache. A is broadcast, columns lie along the lanes; each element of C is summed in the order of the
// depth, whatever the shape, so that a row's bits do not depend on its company.
#pragma once

#include <cstdint>

namespace glm4v::GLM4V_ISA {

template <typename U>
struct Left {
  const U* at;
  int64_t row, depth;  // strides
};

template <typename U>
struct Right {
  const U* at;
  int64_t depth;  // stride; columns are dense
};

struct Result {
  float* at;
  int64_t row;      // stride
  bool accumulate;  // else what was there is overwritten
};

// Sets up this thread's tile registers, where the variant has them, for products of bf16 in its scope.
class TileRegisters {
 public:
  TileRegisters();
  ~TileRegisters();
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

constexpr int kRegisterRows = 6;  // rows of a register block: tiles are best cut into multiples of it

// columns is a multiple of W; depth counts units (tiles.h): floats, or pairs of bf16. On tile registers pairs are
// multiplied up to the next multiple of 16 in rows and in depth, where A and B are to hold zeros and C has room.
void multiply(int rows, int columns, int depth, Left<float> a, Right<float> b, Result c);
void multiply(int rows, int columns, int depth, Left<uint32_t> a, Right<uint32_t> b, Result c);

}  // namespace glm4v::GLM4V_ISA
