// ptx.h for g++: the same instructions on the emulated machine, fragments gathered by the layouts that ptx.h documents.
// Not modelled: the order of memory between threads and proxies (every fence is empty here), bank conflicts, and time.
#pragma once

#include "device.h"

namespace glm4v::cuda {

DEVICE uint32_t shared_address(const void* shared) { return machine.shared_address(shared); }

// One of the two numbers of a register.
template <typename T>
DEVICE float half_of(uint32_t both, int which) {
  return to_float(T{static_cast<uint16_t>(both >> (16 * which))});
}

struct MatrixRow {
  uint32_t* registers;
  uint16_t* row;
};

// Register `matrix` of `lane` and number `which` in it, as row and column of that matrix.
template <bool kTransposed>
DEVICE uint16_t* matrix_element(MatrixRow (&rows)[32], int matrix, int lane, int which) {
  const int g = lane / 4, pair = 2 * (lane % 4) + which;
  return rows[8 * matrix + (kTransposed ? pair : g)].row + (kTransposed ? g : pair);
}

template <bool kTransposed, int kCount, bool kLoad>
DEVICE void move_matrices(uint32_t* registers, const void* row, const char* instruction) {
  MatrixRow mine{registers, static_cast<uint16_t*>(const_cast<void*>(row))};
  if (thread_index() % 32 < 8 * kCount) {
    machine.check(shared_address(row) % 16 == 0, "a matrix row is not at a multiple of 16 bytes");
    shared_address(mine.row + 7);
  }
  machine.together(32, instruction, mine, [](auto&& of) {
    MatrixRow rows[32];
    for (int lane = 0; lane < 32; ++lane) rows[lane] = of(lane);
    for (int lane = 0; lane < 32; ++lane)
      for (int m = 0; m < kCount; ++m) {
        uint16_t* const low = matrix_element<kTransposed>(rows, m, lane, 0);
        uint16_t* const high = matrix_element<kTransposed>(rows, m, lane, 1);
        uint32_t& both = rows[lane].registers[m];
        if constexpr (kLoad) {
          both = *low | static_cast<uint32_t>(*high) << 16;
        } else {
          *low = static_cast<uint16_t>(both), *high = static_cast<uint16_t>(both >> 16);
        }
      }
  });
}

template <bool kTransposed = false, int kCount>
DEVICE void load_matrices(uint32_t (&registers)[kCount], const void* row) {
  move_matrices<kTransposed, kCount, true>(registers, row, "load_matrices");
}

template <bool kTransposed = false>
DEVICE void store_matrices(void* row, const uint32_t (&registers)[4]) {
  uint32_t copy[4];
  std::copy_n(registers, 4, copy);
  move_matrices<kTransposed, 4, false>(copy, row, "store_matrices");
}

// Adds a's number in register r of a lane, as element (row, column) of a [16, 16].
template <typename T, typename Registers>
DEVICE void gather_a(float (&a)[16][16], int lane, Registers&& registers) {
  for (int r = 0; r < 4; ++r)
    for (int which = 0; which < 2; ++which)
      a[lane / 4 + 8 * (r % 2)][2 * (lane % 4) + which + 8 * (r / 2)] = half_of<T>(registers[r], which);
}

template <typename T>
DEVICE void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  struct {
    float* d;
    const uint32_t* a;
    uint32_t b[2];
  } mine{d, a, {b0, b1}};
  machine.together(32, "mma_16x8x16", mine, [](auto&& of) {
    float left[16][16], right[16][8];
    for (int lane = 0; lane < 32; ++lane) {
      gather_a<T>(left, lane, of(lane).a);
      for (int k = 0; k < 4; ++k)
        right[2 * (lane % 4) + k % 2 + 8 * (k / 2)][lane / 4] = half_of<T>(of(lane).b[k / 2], k % 2);
    }
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i) {
        const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
        float sum = 0;
        for (int k = 0; k < 16; ++k) sum += left[row][k] * right[k][column];
        of(lane).d[i] += sum;
      }
  });
}

// copies --------------------------------------------------------------------------------------------------------------

// Delivers, in any order, what belongs to groups before `limit`.
DEVICE void deliver_before(std::vector<emulator::AsyncGroup>& groups, int64_t limit) {
  const auto due = std::stable_partition(groups.begin(), groups.end(), [=](auto& g) { return g.group >= limit; });
  for (auto at = due; at != groups.end(); ++at) {
    std::swap(*at, *(at + static_cast<int64_t>(machine.random(static_cast<uint64_t>(groups.end() - at)))));
    at->deliver();
  }
  groups.erase(due, groups.end());
}

DEVICE void copy_async(void* shared, const void* global, int bytes = 16) {
  machine.check(bytes >= 0 && bytes <= 16, "copy_async of more than 16 bytes");
  machine.check(shared_address(shared) % 16 == 0, "copy_async to shared memory not at a multiple of 16 bytes");
  machine.check(bytes == 0 || reinterpret_cast<uintptr_t>(global) % 16 == 0,
                "copy_async from global memory not at a multiple of 16 bytes");
  const auto copy = [=] {
    auto* to = static_cast<uint8_t*>(shared);
    if (bytes) std::memcpy(to, global, static_cast<size_t>(bytes));
    std::memset(to + bytes, 0, static_cast<size_t>(16 - bytes));
  };
  auto& thread = machine.current();
  if (machine.chance(4)) return copy();
  thread.copies.push_back({thread.copy_groups, copy});
}
DEVICE void copy_commit() { ++machine.current().copy_groups; }
template <int kPending>
DEVICE void copy_wait() {
  auto& thread = machine.current();
  if (!machine.skips(Wait::copy)) deliver_before(thread.copies, thread.copy_groups - kPending);
}

// barriers ------------------------------------------------------------------------------------------------------------

DEVICE void barrier_init(Barrier* barrier, int arrivals) { machine.init_barrier(barrier, arrivals); }
DEVICE void barrier_init_fence() {}
DEVICE void barrier_arrive_expect(Barrier* barrier, int bytes) {
  auto& state = machine.barrier(barrier);
  machine.check(state.pending > 0, "more threads arrive at a barrier than it waits for");
  --state.pending;
  state.bytes += bytes;
  machine.end_phase_if_complete(state);
}
DEVICE void barrier_arrive(Barrier* barrier) { barrier_arrive_expect(barrier, 0); }
DEVICE void barrier_wait(Barrier* barrier, int parity) {
  auto& state = machine.barrier(barrier);
  if (machine.skips(Wait::barrier)) return;
  while (state.phase == parity)
    machine.block_until_woken(state.waiting, "barrier_wait at shared byte " + std::to_string(shared_address(barrier)) +
                                                 " for parity " + std::to_string(parity) + " (" +
                                                 std::to_string(state.pending) + " arrivals and " +
                                                 std::to_string(state.bytes) + " bytes missing)");
}
DEVICE void fence_proxy_async() {}

DEVICE bool elect_one() {
  int nothing = 0;
  machine.together(32, "elect_one", nothing, [](auto&&) {});
  return thread_index() % 32 == (7 * (thread_index() / 32) + 3) % 32;  // any lane may be it
}

template <int kRegisters>
DEVICE void set_registers() {
  static_assert(kRegisters % 8 == 0 && kRegisters >= 24 && kRegisters <= 256);
  int nothing = 0;
  machine.together(128, "registers_up or registers_down", nothing, [](auto&&) {});
  machine.current().registers = kRegisters;
}
template <int kRegisters>
DEVICE void registers_up() {
  set_registers<kRegisters>();
}
template <int kRegisters>
DEVICE void registers_down() {
  set_registers<kRegisters>();
}

// TMA -----------------------------------------------------------------------------------------------------------------

// What a TensorMap holds here.
struct EmulatedMap {
  TensorLayout layout;
  static constexpr int kElement = 2;

  int64_t box_bytes() const {
    int64_t n = kElement;
    for (int i = 0; i < layout.rank; ++i) n *= layout.box[i];
    return n;
  }

  // Calls f(shared byte, global address or null outside) for every element of the box at x.
  template <typename F>
  void for_box(uint32_t start, const int (&x)[4], F&& f) const {
    const int64_t count = box_bytes() / kElement;
    for (int64_t i = 0; i < count; ++i) {
      int64_t rest = i, address = 0;
      bool inside = true;
      for (int axis = 0; axis < layout.rank; ++axis) {
        const int64_t at = x[axis] + rest % layout.box[axis];
        rest /= layout.box[axis];
        inside &= at >= 0 && at < static_cast<int64_t>(layout.size[axis]);
        address += at * static_cast<int64_t>(axis ? layout.stride[axis - 1] : kElement);
      }
      const auto offset = start + static_cast<uint32_t>(i) * kElement;
      const auto width = static_cast<uint32_t>(layout.swizzle);
      f(width ? offset ^ ((offset >> 3) & (width - 16)) : offset,
        inside ? static_cast<const uint8_t*>(layout.data) + address : nullptr);
    }
  }
};
static_assert(sizeof(EmulatedMap) <= sizeof(TensorMap));

DEVICE EmulatedMap open(const TensorMap* map) {
  EmulatedMap opened;
  std::memcpy(&opened, map, sizeof opened);
  machine.check(opened.layout.rank >= 2 && opened.layout.rank <= 4, "a tensor map that was not encoded");
  return opened;
}

// The shared address of a box, checked.
DEVICE uint32_t box_start(const EmulatedMap& map, const void* shared, int rank) {
  const uint32_t start = shared_address(shared);
  const int aligned = map.layout.swizzle == Swizzle::none ? 128 : 8 * static_cast<int>(map.layout.swizzle);
  machine.check(map.layout.rank == rank, "a tensor map of another rank");
  machine.check(start % static_cast<uint32_t>(aligned) == 0, "a TMA box does not start at a multiple of its alignment");
  machine.shared_at(start, map.box_bytes());
  return start;
}

template <typename... X>
DEVICE void tma_load(void* shared, const TensorMap* map, Barrier* barrier, X... coordinate) {
  const EmulatedMap opened = open(map);
  const uint32_t start = box_start(opened, shared, sizeof...(X));
  auto* const state = &machine.barrier(barrier);
  machine.later([=] {
    const int x[4] = {coordinate...};
    opened.for_box(start, x, [](uint32_t to, const uint8_t* from) {
      from ? static_cast<void>(std::memcpy(machine.shared() + to, from, 2))
           : static_cast<void>(std::memset(machine.shared() + to, 0, 2));
    });
    state->bytes -= opened.box_bytes();
    machine.end_phase_if_complete(*state);
  });
}

DEVICE void prefetch(const TensorMap*) {}

// wgmma ---------------------------------------------------------------------------------------------------------------

struct Product {  // one thread's part
  float* d;
  const uint32_t* a;  // null when a is in shared memory
  uint64_t descriptor_a, descriptor_b;
  bool add;
  int64_t group;
};

// Element (i along m or n, k) of the operand that a descriptor points to.
template <typename T>
DEVICE float operand_element(uint64_t descriptor, Major major, int i, int k) {
  const auto field = [=](int bit) { return static_cast<uint32_t>((descriptor >> bit & 0x3fff) << 4); };
  const uint32_t start = field(0), leading = field(16), stride = field(32);
  const uint32_t width = 256u >> (descriptor >> 62), across = width / 2;
  const auto u = static_cast<uint32_t>(i), v = static_cast<uint32_t>(k);
  const uint32_t address =
      start + (major == Major::k ? u % 8 * width + u / 8 * stride + v * 2
                                 : u % across * 2 + u / across * leading + v % 8 * width + v / 8 * stride);
  T element;
  std::memcpy(&element, machine.shared_at(address ^ ((address >> 3) & (width - 16)), 2), 2);
  return to_float(element);
}

template <typename T, int N>
DEVICE void multiply(const std::vector<Product>& threads, Major major_a, Major major_b) {
  std::vector<float> right(16 * N);
  for (int n = 0; n < N; ++n)
    for (int k = 0; k < 16; ++k) right[k * N + n] = operand_element<T>(threads[0].descriptor_b, major_b, n, k);
  for (int warp = 0; warp < 4; ++warp) {
    float left[16][16];
    for (int lane = 0; lane < 32 && threads[0].a; ++lane) gather_a<T>(left, lane, threads[32 * warp + lane].a);
    for (int i = 0; i < 256 && !threads[0].a; ++i)
      left[i / 16][i % 16] = operand_element<T>(threads[0].descriptor_a, major_a, 16 * warp + i / 16, i % 16);
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < N / 2; ++i) {
        const int row = lane / 4 + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * (lane % 4) + i % 2;
        float sum = 0;
        for (int k = 0; k < 16; ++k) sum += left[row][k] * right[k * N + column];
        float& d = threads[32 * warp + lane].d[i];
        d = threads[0].add ? d + sum : sum;
      }
  }
}

DEVICE void deliver_products(int64_t limit) {
  auto& products = machine.products();
  while (!products.empty() && products.front().group < limit) {
    products.front().deliver();
    products.pop_front();
  }
}

template <typename T, int N>
DEVICE void issue(Product mine, Major major_a, Major major_b) {
  machine.together(128, "wgmma", mine, [&](auto&& of) {
    std::vector<Product> threads(128);
    for (int i = 0; i < 128; ++i) {
      threads[i] = of(i);
      machine.check(threads[i].descriptor_a == threads[0].descriptor_a &&
                        threads[i].descriptor_b == threads[0].descriptor_b && threads[i].add == threads[0].add,
                    "the threads of a warpgroup give wgmma different operands");
      machine.check(threads[i].group == threads[0].group, "the threads of a warpgroup have committed different groups");
    }
    machine.products().push_back({mine.group, [=] { multiply<T, N>(threads, major_a, major_b); }});
    if (machine.chance(2)) deliver_products(INT64_MAX);
  });
}

template <typename T, Major kMajorA, Major kMajorB, int kCount>
DEVICE void wgmma(float (&d)[kCount], uint64_t a, uint64_t b, bool add) {
  static_assert(kCount % 8 == 0 && kCount <= 128);
  issue<T, 2 * kCount>({d, nullptr, a, b, add, machine.current().wgmma_groups}, kMajorA, kMajorB);
}
template <typename T, Major kMajorB, int kCount>
DEVICE void wgmma(float (&d)[kCount], const uint32_t (&a)[4], uint64_t b, bool add) {
  static_assert(kCount % 8 == 0 && kCount <= 128);
  issue<T, 2 * kCount>({d, a, 0, b, add, machine.current().wgmma_groups}, Major::k, kMajorB);
}
DEVICE void wgmma_fence() {}
template <typename Registers>
DEVICE void wgmma_hold(Registers&) {}
DEVICE void wgmma_commit() { ++machine.current().wgmma_groups; }
template <int kPending>
DEVICE void wgmma_wait() {
  if (!machine.skips(Wait::wgmma)) deliver_products(machine.current().wgmma_groups - kPending);
}

inline Error encode_tensor_map(TensorMap& map, DType dtype, const TensorLayout& layout) {
  if (dtype != DType::bf16 && dtype != DType::f16) return "a tensor map of another type than bf16 or fp16";
  if (layout.rank < 2 || layout.rank > 4) return "a tensor map's rank is not 2 to 4";
  if (reinterpret_cast<uintptr_t>(layout.data) % 16) return "a tensor map's data is not at a multiple of 16 bytes";
  for (int i = 0; i < layout.rank; ++i) {
    if (layout.box[i] < 1 || layout.box[i] > 256) return "a tensor map's box is not 1 to 256 along each axis";
    if (i && layout.stride[i - 1] % 16) return "a tensor map's stride is not a multiple of 16 bytes";
  }
  if (layout.box[0] * 2 % 16) return "a tensor map's inner box is not a multiple of 16 bytes";
  if (layout.swizzle != Swizzle::none && layout.box[0] * 2 > static_cast<uint32_t>(layout.swizzle))
    return "a tensor map's inner box is wider than its swizzle";
  const EmulatedMap opened{layout};
  map = {};
  std::memcpy(&map, &opened, sizeof opened);
  return nullptr;
}

}  // namespace glm4v::cuda
