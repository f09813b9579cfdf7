// glm4v._cuda_emulator: what glm4v._cuda is, executed on the CPU by the emulated machine, and the machine's settings.
#include "../../csrc/bindings/operators.h"
#include "machine.h"

namespace glm4v {
void bind_probes(py::module_& m);
}

namespace {

constexpr const char* kWaitNames[] = {"sync_threads", "sync_warp", "named_barrier", "copy", "barrier", "wgmma"};
static_assert(sizeof kWaitNames / sizeof *kWaitNames == glm4v::emulator::kWaits);

void leave_out(const std::string& wait, int ordinal, int thread) {
  for (int i = 0; i < glm4v::emulator::kWaits; ++i)
    if (wait == kWaitNames[i]) return glm4v::emulator::machine.leave_out(i, ordinal, thread);
  glm4v::fail("wait", "is '" + wait + "'; expected one of the names that calls() gives");
}

}  // namespace

PYBIND11_MODULE(_cuda_emulator, m) {
  using glm4v::emulator::machine;
  m.doc() = "The CUDA kernels of glm4v executed on the CPU, for tests.";
  glm4v::bind_cuda(m);
  pybind11::module_ probes = m.def_submodule("probes", "One small kernel for each group of instructions.");
  glm4v::bind_probes(probes);
  m.def("seed", [](uint64_t value) { machine.seed(value); }, "Seeds the order of threads and of late copies.");
  m.def("use_arch", [](int arch) { machine.arch = arch; }, "80 or 90: what device kernels are chosen for.");
  m.def("leave_out", leave_out, pybind11::arg("wait"), pybind11::arg("ordinal"), pybind11::arg("thread") = -1,
        "From now on every thread, or one, leaves out its n-th (from 0) such wait of a block.");
  m.def("leave_out_nothing", [] { machine.leave_out(-1, 0, -1); });
  m.def(
      "calls",
      [] {
        pybind11::dict counts;
        for (int i = 0; i < glm4v::emulator::kWaits; ++i) counts[kWaitNames[i]] = std::exchange(machine.calls[i], 0);
        return counts;
      },
      "The most waits of each kind that a thread made in a block since the last call.");
}
