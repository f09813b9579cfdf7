// Tile shapes of the sm_80 kernels by the bytes of a padded head (64, 128 or 256 numbers of 2 or 4 bytes). All of a
// block's shared memory stays within the 99 KB that every device from sm_80 on grants, most of it below the 81 KB that
// two blocks of an A100's multiprocessor may have each.
#pragma once

#include <type_traits>

namespace glm4v::cuda {

constexpr int kSharedOfEveryDevice = 99 * 1024;

// One tile of queries, two of keys that take turns, one of values.
struct ForwardShape {
  int rows_of_warp, warps, keys;
  constexpr int queries() const { return rows_of_warp * warps; }
  constexpr int shared_bytes(int head_bytes) const { return (queries() + 3 * keys) * head_bytes; }
};

// 32 rows a warp, since each load of keys from shared memory then feeds two products (with 16 rows loads take as long
// as an A100's tensor cores); 16 where the registers would not hold the output.
constexpr ForwardShape forward_shape(int head_bytes) {
  if (head_bytes <= 256) return {32, 4, 64};
  if (head_bytes == 512) return {16, 4, 32};
  return {16, 2, 16};
}

// A block of a backward kernel holds two tiles of rows (keys and values, or queries and gradients of the output) and
// walks along pairs of tiles of columns (the other two), two of which take turns.
struct BackwardShape {
  int rows_of_warp, warps, columns;
  constexpr int rows() const { return rows_of_warp * warps; }
  constexpr int shared_bytes(int head_bytes) const { return (2 * rows() + 4 * columns) * head_bytes; }
};

constexpr BackwardShape backward_shape(int head_bytes) {
  if (head_bytes == 128) return {32, 4, 16};
  if (head_bytes == 256) return {16, 4, 32};
  if (head_bytes == 512) return {16, 4, 16};
  return {16, 2, 8};
}

// Calls f with the width that heads are padded to, as a constant.
template <typename F>
auto for_width(int head_dim, F&& f) {
  if (head_dim <= 64) return f(std::integral_constant<int, 64>{});
  if (head_dim <= 128) return f(std::integral_constant<int, 128>{});
  return f(std::integral_constant<int, 256>{});
}

}  // namespace glm4v::cuda
