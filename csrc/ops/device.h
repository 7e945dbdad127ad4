// A launch on the device of a tensor: which kernels serve it, and what they are given.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>

#include "kernels.h"

namespace genkern {

// How kernels of the CPU share work among threads.
Parallel cpu_parallel();

class Device {
 public:
  // The device is the current one while this lives.
  explicit Device(const at::Device& device);

  // kernel(arguments), with what sums to that many losses over an extent need besides.
  template <class A>
  void run(Status (*Kernels::*kernel)(const A&, const Launch&), const A& arguments, const Extent& extent = {},
           Reduction reduction = Reduction::none, int losses = 0) {
    reserve_workspace(extent, reduction, losses);
    check((kernels_.*kernel)(arguments, launch_), kernels_.name);
  }

  // Workspace for a launch that says itself how much it takes.
  template <class A>
  void reserve(int64_t (*Kernels::*workspace)(const A&), const A& arguments) {
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

}  // namespace genkern
