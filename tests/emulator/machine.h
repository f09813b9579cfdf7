// The machine that executes CUDA kernels on the CPU. Blocks run one after another in a shuffled order; the threads of a
// block are fibers, and which of those that can go on does so next is drawn at random, so that a missing barrier shows.
// What the hardware may do late is done late or early, by chance: cp.async and TMA copies, and wgmma, whose operands
// are read only then. Whatever the PTX documentation forbids and the machine can see ends the launch with a message.
#pragma once

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../../csrc/cuda/kernels.h"
#include "fiber.h"

namespace glm4v::emulator {

// A wait that tests leave out to prove that its lack is seen.
enum class Wait : int { sync_threads, sync_warp, named_barrier, copy, barrier, wgmma };
inline constexpr int kWaits = 6;

struct Thread;

// Where the threads of a warp or warpgroup meet to execute one instruction together.
struct Meeting {
  const char* instruction = nullptr;
  std::vector<void*> operands;  // by lane; they live on the stacks of the waiting threads
  std::vector<Thread*> waiting;
};

struct AsyncGroup {  // copies or products that a thread or warpgroup can wait for
  int64_t group;
  std::function<void()> deliver;
};

struct Thread {
  int index;
  Fiber fiber;
  bool finished = false;
  std::string waits_for;
  int calls[kWaits] = {};
  int64_t copy_groups = 0, wgmma_groups = 0;
  std::vector<AsyncGroup> copies;
  int registers = 0;
};

struct BarrierState {  // an mbarrier
  int expected, pending;
  int64_t bytes = 0;
  int phase = 0;
  std::vector<Thread*> waiting;
};

struct NamedBarrier {
  int arrived = 0, threads = 0;
  std::vector<Thread*> waiting;
};

class Machine {
 public:
  // Runs run(arguments) in every thread; the message stays valid until the next launch.
  const char* launch(int64_t x, int64_t y, int64_t z, int threads, int64_t shared_bytes, void (*run)(const void*),
                     const void* arguments);

  // settings of tests
  void seed(uint64_t value) { random_ = value * 0x9E3779B97F4A7C15 + 1; }
  void leave_out(int wait, int ordinal, int thread) { left_out_ = {wait, ordinal, thread}; }
  int arch = 90;
  int calls[kWaits] = {};  // the most that a thread made since they were cleared

  // what a running thread asks for
  Thread& current() { return *current_; }
  int64_t block[3], blocks[3];
  int threads() const { return thread_count_; }
  uint8_t* shared() { return shared_; }
  int64_t shared_size() const { return shared_bytes_; }
  uint64_t random(uint64_t below);
  bool chance(int one_in) { return random(static_cast<uint64_t>(one_in)) == 0; }
  [[noreturn]] void fail(const std::string& what);
  void check(bool holds, const char* what) {
    if (!holds) fail(what);
  }
  bool skips(Wait wait);  // counts the call
  void block_until_woken(std::vector<Thread*>& list, const std::string& reason);
  void wake(std::vector<Thread*>& list);
  void named_barrier(int id, int threads, bool wait, const char* what);
  BarrierState& barrier(const void* address);
  void init_barrier(const void* address, int arrivals);
  void end_phase_if_complete(BarrierState& barrier);
  uint32_t shared_address(const void* pointer);
  uint8_t* shared_at(uint64_t address, int64_t bytes);
  void later(std::function<void()> deliver) { in_flight_.push_back(std::move(deliver)); }

  // All `count` threads (32 or 128) that share a warp or warpgroup call this with their operands; the last one to come
  // runs combine(operands by lane) for all.
  template <typename Operands, typename Combine>
  void together(int count, const char* instruction, Operands& mine, Combine&& combine) {
    Meeting& meeting = meet(count, instruction, &mine);
    if (static_cast<int>(meeting.waiting.size()) + 1 < count) {
      block_until_woken(meeting.waiting, instruction);
      return;
    }
    combine([&](int lane) -> Operands& { return *static_cast<Operands*>(meeting.operands[lane]); });
    wake(meeting.waiting);
    meeting.instruction = nullptr;
  }

  std::deque<AsyncGroup>& products() { return products_[current_->index / 128]; }  // of this warpgroup, in order

 private:
  static void enter();
  void run_block();
  void schedule();
  Meeting& meet(int count, const char* instruction, void* operands);
  std::string deadlock() const;

  std::vector<std::unique_ptr<Thread>> pool_;
  std::vector<Thread*> runnable_;
  Thread* current_ = nullptr;
  int thread_count_ = 0, live_ = 0;
  void (*run_)(const void*) = nullptr;
  const void* arguments_ = nullptr;
  uint8_t* shared_ = nullptr;
  int64_t shared_bytes_ = 0;
  std::map<int, NamedBarrier> named_;
  std::map<const void*, BarrierState> barriers_;
  std::vector<Meeting> meetings_[2];  // of warps, of warpgroups
  std::vector<std::deque<AsyncGroup>> products_;
  std::vector<std::function<void()>> in_flight_;  // TMA loads
  uint64_t random_ = 1;
  struct {
    int wait, ordinal, thread;  // thread -1: all
  } left_out_{-1, 0, -1};
  bool failed_ = false;
  std::string error_;
};

extern Machine machine;

}  // namespace glm4v::emulator
