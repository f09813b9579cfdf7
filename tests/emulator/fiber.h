// A CUDA thread as a fiber: a stack of its own and a switch of a dozen instructions, announced to AddressSanitizer so
// that it follows. x86-64 only, like the machines the tests run on.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

// Keeps the callee's registers on the stack it leaves, puts that stack's pointer at *from, and goes on where `to` was
// left.
extern "C" void glm4v_switch_stacks(void** from, void* to) __attribute__((visibility("hidden")));

namespace glm4v::emulator {

class Fiber {
 public:
  static constexpr size_t kStack = 256 * 1024;

  Fiber() {
    stack_ = static_cast<uint8_t*>(
        mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (stack_ == MAP_FAILED) std::abort();
    mprotect(stack_, 4096, PROT_NONE);  // an overflow faults here instead of in a neighbour's stack
  }
  ~Fiber() { munmap(stack_, kStack); }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next resume() calls entry(), which never returns.
  void start(void (*entry)()) {
    ASAN_UNPOISON_MEMORY_REGION(stack_, kStack);
    auto* top = reinterpret_cast<void**>(stack_ + kStack - 64);
    *--top = nullptr;  // where entry would return to; also aligns its stack as after a call
    *--top = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    pointer_ = top;
  }

  // From the scheduler into the fiber, until it leaves.
  void resume() {
#ifdef __SANITIZE_ADDRESS__
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, stack_, kStack);
    glm4v_switch_stacks(&scheduler_, pointer_);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
    glm4v_switch_stacks(&scheduler_, pointer_);
#endif
  }

  // From the fiber back to the scheduler; `last` when it will not be resumed.
  void leave(bool last = false) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(last ? nullptr : &fake_, scheduler_stack_, scheduler_size_);
    glm4v_switch_stacks(&pointer_, scheduler_);
    entered();
#else
    (void)last;
    glm4v_switch_stacks(&pointer_, scheduler_);
#endif
  }

  // The first thing that entry() does.
  void entered() {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake_, &scheduler_stack_, &scheduler_size_);
#endif
  }

 private:
  uint8_t* stack_;
  void* pointer_ = nullptr;
  void* scheduler_ = nullptr;
#ifdef __SANITIZE_ADDRESS__
  void* fake_ = nullptr;
  const void* scheduler_stack_ = nullptr;
  size_t scheduler_size_ = 0;
#endif
};

}  // namespace glm4v::emulator
