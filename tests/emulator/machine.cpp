// The scheduler of the emulated machine, its barriers, and its messages.
#include "machine.h"

#include <algorithm>

asm(R"(
.text
.globl glm4v_switch_stacks
.type glm4v_switch_stacks, @function
glm4v_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size glm4v_switch_stacks, .-glm4v_switch_stacks
)");

namespace glm4v::emulator {

Machine machine;

uint64_t Machine::random(uint64_t below) {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return random_ % below;
}

void Machine::fail(const std::string& what) {
  failed_ = true;
  error_ = "block (" + std::to_string(block[0]) + ", " + std::to_string(block[1]) + ", " + std::to_string(block[2]) +
           ")" + (current_ ? ", thread " + std::to_string(current_->index) : "") + ": " + what;
  current_->fiber.leave(true);
  std::abort();  // not reached: a failed block is not resumed
}

bool Machine::skips(Wait wait) {
  const int ordinal = current_->calls[static_cast<int>(wait)]++;
  return static_cast<int>(wait) == left_out_.wait && ordinal == left_out_.ordinal &&
         (left_out_.thread < 0 || left_out_.thread == current_->index);
}

void Machine::block_until_woken(std::vector<Thread*>& list, const std::string& reason) {
  list.push_back(current_);
  current_->waits_for = reason;
  current_->fiber.leave();
}

void Machine::wake(std::vector<Thread*>& list) {
  runnable_.insert(runnable_.end(), list.begin(), list.end());
  list.clear();
}

void Machine::named_barrier(int id, int threads, bool wait, const char* what) {
  check(id >= 0 && id < 16, "a named barrier's number is not 0 to 15");
  check(threads > 0 && threads % 32 == 0, "a named barrier's threads are not a multiple of 32");
  NamedBarrier& barrier = named_[id];
  check(barrier.arrived == 0 || barrier.threads == threads, "a named barrier is used with two numbers of threads");
  barrier.threads = threads;
  if (++barrier.arrived == threads) {
    barrier.arrived = 0;
    wake(barrier.waiting);
  } else if (wait) {
    block_until_woken(barrier.waiting, std::string(what) + " " + std::to_string(id));
  }
}

void Machine::init_barrier(const void* address, int arrivals) {
  check(shared_address(address) % 8 == 0, "a barrier is not at a multiple of 8 bytes");
  check(arrivals > 0, "a barrier without arrivals");
  barriers_[address] = BarrierState{arrivals, arrivals, 0, 0, {}};
}

BarrierState& Machine::barrier(const void* address) {
  const auto found = barriers_.find(address);
  if (found == barriers_.end()) fail("a barrier is used that was not initialised");
  return found->second;
}

void Machine::end_phase_if_complete(BarrierState& barrier) {
  if (barrier.pending != 0 || barrier.bytes != 0) return;
  barrier.phase ^= 1;
  barrier.pending = barrier.expected;
  wake(barrier.waiting);
}

uint32_t Machine::shared_address(const void* pointer) {
  const auto* byte = static_cast<const uint8_t*>(pointer);
  if (byte < shared_ || byte >= shared_ + shared_bytes_) fail("an address is not in shared memory");
  return static_cast<uint32_t>(byte - shared_);
}

uint8_t* Machine::shared_at(uint64_t address, int64_t bytes) {
  if (static_cast<int64_t>(address) + bytes > shared_bytes_) fail("an operand reaches beyond shared memory");
  return shared_ + address;
}

Meeting& Machine::meet(int count, const char* instruction, void* operands) {
  Meeting& meeting = meetings_[count == 128][current_->index / count];
  if (meeting.instruction && std::strcmp(meeting.instruction, instruction) != 0)
    fail(std::string("calls ") + instruction + " where other threads of its warp or warpgroup call " +
         meeting.instruction);
  meeting.instruction = instruction;
  meeting.operands.resize(count);
  meeting.operands[current_->index % count] = operands;
  return meeting;
}

void Machine::enter() {
  Thread& self = *machine.current_;
  self.fiber.entered();
  machine.run_(machine.arguments_);
  self.finished = true;
  --machine.live_;
  self.fiber.leave(true);
}

void Machine::schedule() {
  while (live_ > 0 && !failed_) {
    if (!in_flight_.empty() && (runnable_.empty() || chance(16))) {
      const auto which = in_flight_.begin() + static_cast<int64_t>(random(in_flight_.size()));
      const std::function<void()> deliver = std::move(*which);
      in_flight_.erase(which);
      deliver();
      continue;
    }
    if (runnable_.empty()) {
      failed_ = true;
      error_ = deadlock();
      return;
    }
    std::swap(runnable_[random(runnable_.size())], runnable_.back());
    current_ = runnable_.back();
    runnable_.pop_back();
    current_->fiber.resume();
  }
}

std::string Machine::deadlock() const {
  std::map<std::string, std::vector<int>> groups;
  for (int i = 0; i < thread_count_; ++i)
    groups[pool_[i]->finished ? "have ended" : "wait in " + pool_[i]->waits_for].push_back(i);
  std::string text = "deadlock in block (" + std::to_string(block[0]) + ", " + std::to_string(block[1]) + ", " +
                     std::to_string(block[2]) + "):";
  for (const auto& [what, who] : groups)
    text += " " + std::to_string(who.size()) + " threads from " + std::to_string(who.front()) + " to " +
            std::to_string(who.back()) + " " + what + ";";
  return text;
}

void Machine::run_block() {
  std::memset(shared_, 0xff, static_cast<size_t>(shared_bytes_));  // NaN in every type
  named_.clear();
  barriers_.clear();
  in_flight_.clear();
  for (auto& meetings : meetings_) meetings.assign(static_cast<size_t>(thread_count_ / 32), {});
  products_.assign(static_cast<size_t>((thread_count_ + 127) / 128), {});
  runnable_.clear();
  for (int i = 0; i < thread_count_; ++i) {
    Thread& thread = *pool_[i];
    thread.finished = false;
    thread.waits_for.clear();
    std::fill_n(thread.calls, kWaits, 0);
    thread.copy_groups = thread.wgmma_groups = 0;
    thread.copies.clear();
    thread.fiber.start(&Machine::enter);
    runnable_.push_back(&thread);
  }
  live_ = thread_count_;
  schedule();
  current_ = nullptr;
  for (int i = 0; i < thread_count_; ++i)
    for (int w = 0; w < kWaits; ++w) calls[w] = std::max(calls[w], pool_[i]->calls[w]);
}

const char* Machine::launch(int64_t x, int64_t y, int64_t z, int threads, int64_t shared_bytes,
                            void (*run)(const void*), const void* arguments) {
  if (threads <= 0 || threads % 32 || threads > 1024) return "a block's threads are not a multiple of 32 up to 1024";
  if (shared_bytes < 0 || shared_bytes > 227 * 1024) return "more than 227 KB of shared memory";
  if (x > INT32_MAX || y > 65535 || z > 65535) return "more blocks than a grid may have";
  while (static_cast<int>(pool_.size()) < threads) {
    pool_.push_back(std::make_unique<Thread>());
    pool_.back()->index = static_cast<int>(pool_.size()) - 1;
  }
  thread_count_ = threads, run_ = run, arguments_ = arguments, shared_bytes_ = shared_bytes;
  blocks[0] = x, blocks[1] = y, blocks[2] = z;
  const size_t capacity = (static_cast<size_t>(shared_bytes) / 1024 + 2) * 1024;
  shared_ = static_cast<uint8_t*>(std::aligned_alloc(1024, capacity));
  ASAN_POISON_MEMORY_REGION(shared_ + shared_bytes, capacity - static_cast<size_t>(shared_bytes));
  std::vector<int64_t> order(static_cast<size_t>(x * y * z));
  for (size_t i = 0; i < order.size(); ++i) {
    order[i] = static_cast<int64_t>(i);
    std::swap(order[i], order[random(i + 1)]);
  }
  failed_ = false;
  for (const int64_t i : order) {
    block[0] = i % x, block[1] = i / x % y, block[2] = i / (x * y);
    run_block();
    if (failed_) break;
  }
  ASAN_UNPOISON_MEMORY_REGION(shared_, capacity);
  std::free(shared_);
  shared_ = nullptr;
  return failed_ ? error_.c_str() : nullptr;
}

}  // namespace glm4v::emulator
