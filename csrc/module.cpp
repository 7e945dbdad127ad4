// genkern._C: facts about the build, and control of what runs.
#include <ATen/Parallel.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "cpu/dispatch.h"
#include "ops/autograd.h"
#include "ops/call.h"

namespace py = pybind11;

PYBIND11_MODULE(_C, m) {
  m.doc() = "genkern's compiled half; the kernels are torch.ops.genkern.*";
  m.def("register_autograd", &genkern::register_autograd, py::arg("name"), py::arg("differentiable"));
  m.def(
      "make_call", [](const std::string& name) { return py::reinterpret_steal<py::object>(genkern::make_call(name)); },
      py::arg("name"), "A function that calls genkern::<name>; csrc/ops/call.h says with what.");
  m.def(
      "devices",
      [] {
        std::vector<std::string> types{"cpu"};
#ifdef GENKERN_WITH_CUDA
        types.emplace_back("cuda");
#endif
        return types;
      },
      "The device types whose kernels are registered.");
  m.def("num_threads", [] { return at::get_num_threads(); });
  m.def("isa", [] { return genkern::cpu_kernels().name; }, "The instruction set whose kernels run.");
  m.def(
      "isas",
      [] {
        std::vector<std::string> names;
        for (const auto* kernels : genkern::cpu_kernels_available()) names.emplace_back(kernels->name);
        return names;
      },
      "The instruction sets that this machine can run, the best first.");
  m.def(
      "set_isa",
      [](const std::string& isa) {
        if (!genkern::choose_cpu_kernels(isa.c_str()))
          throw py::value_error("isa: expected one of genkern._C.isas(), got '" + isa + "'");
      },
      py::arg("isa"));
  m.def(
      "add_kernels",
      [](uintptr_t address) { genkern::add_cpu_kernels(*reinterpret_cast<const genkern::Kernels*>(address)); },
      py::arg("address"), "Offer a table of kernels, which another library holds, as one more instruction set: tests.");
  m.def(
      "philox",
      [](uint64_t key, uint64_t counter_low, uint64_t counter_high) {
        const genkern::Words w = genkern::philox(key, counter_low, counter_high);
        return std::array<uint32_t, 4>{w.x0, w.x1, w.x2, w.x3};
      },
      py::arg("key"), py::arg("counter_low"), py::arg("counter_high") = 0, "The words of one Philox4x32-10 block.");
}
