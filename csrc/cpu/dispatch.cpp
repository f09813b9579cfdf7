// Chooses the instruction set at run time and counts threads. Compiled for the portable baseline only.
#include <atomic>
#include <cstdlib>
#include <cstring>

#include <omp.h>
#include <pthread.h>
#if defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels.h"
#include "threads.h"
#include "variants.h"

namespace glm4v {

#define GLM4V_DECLARE(isa)    \
  namespace isa {             \
  extern const Kernels table; \
  }
GLM4V_FOR_EACH_VARIANT(GLM4V_DECLARE)
#undef GLM4V_DECLARE

namespace {

#if defined(__x86_64__)
// Linux gives a process tile registers when it asks; its children have them too.
bool system_grants_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

bool machine_has(const char* isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (!std::strcmp(isa, "avx2")) return avx2;
  if (!std::strcmp(isa, "avx512")) return avx512;
  const bool avx512_bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  if (!std::strcmp(isa, "avx512_bf16")) return avx512_bf16;
  if (!std::strcmp(isa, "amx_bf16"))
    return avx512_bf16 && __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") &&
           system_grants_tiles();
#endif
  return true;  // portable and the stand-ins for wider vectors
}

// Best first; stand-ins, which only tests build, come last and are never chosen by themselves.
const Variant all_variants[] = {
#define GLM4V_ENTRY(isa) {&isa::table, machine_has(#isa)},
    GLM4V_FOR_EACH_VARIANT(GLM4V_ENTRY)
#undef GLM4V_ENTRY
};

std::atomic<const Kernels*> in_use{nullptr};
std::atomic<bool> forked{false};

const Kernels* find(const char* isa) {
  for (const Variant& variant : all_variants)
    if (!std::strcmp(variant.kernels->isa, isa)) return variant.runs_here ? variant.kernels : nullptr;
  return nullptr;
}

const Kernels* best() {
  for (const Variant& variant : all_variants)
    if (variant.runs_here) return variant.kernels;
  return nullptr;  // not reached: portable is always there
}

[[maybe_unused]] const int fork_handler = pthread_atfork(nullptr, nullptr, [] { forked = true; });

}  // namespace

Variants variants() { return {all_variants, static_cast<int>(sizeof all_variants / sizeof *all_variants)}; }

bool use_isa(const char* isa) {
  const Kernels* found = find(isa);
  if (found) in_use = found;
  return found != nullptr;
}

const Kernels& kernels() {
  const Kernels* table = in_use;
  if (!table) in_use = table = best();
  return *table;
}

int max_threads() { return forked ? 1 : omp_get_max_threads(); }

}  // namespace glm4v
