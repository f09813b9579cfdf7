// Finding the image that a patch row belongs to.
#pragma once

#include "kernels.h"

namespace glm4v::GLM4V_ISA {
namespace {

struct PatchRow {
  int64_t first_patch;    // of the row's frame
  int64_t row;            // within the frame
  int64_t height, width;  // of the frame, in patches
};

// `index` counts the rows of all frames of all grids. Binary search for the last grid that starts at or before it.
inline PatchRow patch_row(const Grids& grids, int64_t index) {
  int64_t low = 0, high = grids.count - 1;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (grids.grid[middle].first_row <= index)
      low = middle;
    else
      high = middle - 1;
  }
  const Grid& g = grids.grid[low];
  const int64_t row = index - g.first_row;
  return {g.first_patch + row / g.height * g.height * g.width, row % g.height, g.height, g.width};
}

}  // namespace
}  // namespace glm4v::GLM4V_ISA
