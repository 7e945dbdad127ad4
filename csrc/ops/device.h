// A launch on the device of a tensor: which kernels serve it, and what they are given.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>

#include <type_traits>

#include "kernels.h"
#include "ops/layout.h"

namespace genkern {

// How kernels of the CPU share work among threads.
Parallel cpu_parallel();

// A kernel of every backend, and the workspace that one says itself it takes.
template <class A>
using KernelOf = Status (*Kernels::*)(const A&, const Launch&);
template <class A>
using WorkspaceOf = int64_t (*Kernels::*)(const A&);

class Device {
 public:
  // The device is the current one while this lives.
  explicit Device(const at::Device& device);

  // kernel(arguments), with what their sums need besides.
  template <class A>
  void run(KernelOf<A> kernel, const A& arguments) {
    if constexpr (requires { arguments.each_operand([](const auto&) {}); }) {
      Reduction reduction = Reduction::none;
      int losses = 0;
      arguments.each_operand([&](const auto& o) {
        if constexpr (std::is_same_v<decltype(o), const Loss&>)
          if (o.out) reduction = o.reduction, ++losses;
      });
      reserve_workspace(arguments.extent, reduction, losses);
    }
    check((kernels_.*kernel)(arguments, launch_), kernels_.name);
  }

  // Workspace for a launch that says itself how much it takes.
  template <class A>
  void reserve(WorkspaceOf<A> workspace, const A& arguments) {
    reserve_workspace((kernels_.*workspace)(arguments));
  }

 private:
  const Kernels& kernels_;
  c10::OptionalDeviceGuard guard_;
  at::Device device_;
  Launch launch_;
  at::Tensor workspace_;

  void reserve_workspace(const Extent& extent, Reduction reduction, int losses);
  void reserve_workspace(int64_t size);
  static void check(Status status, const char* name);
};

// A launch over the extent that a layout finds, on the device of a tensor.
template <class AnyLayout, class A>
void launch(AnyLayout& layout, const at::Tensor& on, KernelOf<std::type_identity_t<A>> kernel, A& arguments) {
  arguments.extent = layout.resolve();
  Device(on.device()).run(kernel, arguments);
  layout.finish();
}

// A launch that says itself how much workspace it takes.
template <class A>
void launch(const at::Tensor& on, const A& arguments, WorkspaceOf<A> workspace, KernelOf<A> kernel) {
  Device device(on.device());
  device.reserve(workspace, arguments);
  device.run(kernel, arguments);
}

}  // namespace genkern
