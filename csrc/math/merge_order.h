// Patches of a frame are stored in merge order: 2x2 blocks contiguous, blocks row by row.
#pragma once

#include "math.h"

namespace glm4v::GLM4V_ISA {

// Place of patch (row, column) within its frame of `width` patches a row.
GLM4V_SHARED int64_t merge_place(int64_t row, int64_t column, int64_t width) {
  return ((row / 2) * (width / 2) + column / 2) * 4 + (row % 2) * 2 + column % 2;
}

// The way back.
GLM4V_SHARED int64_t merge_row(int64_t place, int64_t width) { return place / 4 / (width / 2) * 2 + place % 4 / 2; }
GLM4V_SHARED int64_t merge_column(int64_t place, int64_t width) { return place / 4 % (width / 2) * 2 + place % 2; }

}  // namespace glm4v::GLM4V_ISA
