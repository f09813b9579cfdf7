// Where a patch lies in its image: kernels read grid_thw [N, 3] themselves, so that nothing has to be computed before
// them or waited for. Values that the CPU would refuse hold no patches here.
#pragma once

#include "../math/merge_order.h"
#include "device.h"

namespace glm4v::cuda {

struct GridShape {
  int64_t frames = 0, height = 0, width = 0;

  DEVICE int64_t patches() const { return frames * height * width; }
};

DEVICE GridShape grid_shape(const Grids& grids, int64_t index) {
  if (index >= grids.count) return {};
  const int64_t* const thw = grids.grid_thw + 3 * index;
  const GridShape shape{thw[0], thw[1], thw[2]};
  constexpr int64_t kLimit = int64_t{1} << 20;
  for (const int64_t side : {shape.frames, shape.height, shape.width})
    if (side <= 0 || side >= kLimit) return {};
  return (shape.height | shape.width) % 2 || shape.patches() > grids.patches ? GridShape{} : shape;
}

DEVICE GridShape shuffle(const GridShape& shape, int lane) {
  return {shuffle(shape.frames, lane), shuffle(shape.height, lane), shuffle(shape.width, lane)};
}

// Of a patch in its frame, and of the frame, in patches.
struct Place {
  int64_t row, column, height, width;
};

// The whole warp looks for one patch, 32 grids at a time.
DEVICE Place place_of(const Grids& grids, int64_t patch) {
  int64_t before = 0;
  for (int64_t first = 0; first < grids.count; first += 32) {
    const GridShape mine = grid_shape(grids, first + lane_index());
    const int64_t end = before + sum_up_to(mine.patches());
    if (const uint32_t beyond = ballot(end > patch)) {
      const int lane = lowest_bit(beyond);
      const GridShape grid = shuffle(mine, lane);
      const int64_t place = (patch - (shuffle(end, lane) - grid.patches())) % (grid.height * grid.width);
      return {merge_row(place, grid.width), merge_column(place, grid.width), grid.height, grid.width};
    }
    before = shuffle(end, 31);
  }
  return {0, 0, 1, 1};  // the grids hold fewer patches
}

}  // namespace glm4v::cuda
