#include "ops/device.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#ifndef _WIN32
#include <pthread.h>
#endif

#include "cpu/dispatch.h"
#ifdef GENKERN_WITH_CUDA
#include "cuda/dispatch.h"
#include "ops/cuda/context.h"
#endif

namespace genkern {
namespace {

const Kernels& kernels_of(const at::Device& device) {
#ifdef GENKERN_WITH_CUDA
  if (device.is_cuda()) return cuda_kernels();
#endif
  TORCH_CHECK_VALUE(device.is_cpu(), "device: genkern has no compiled kernels for ", device);
  return cpu_kernels();
}

// A forked process has none of the threads that torch's pool (OpenMP's, say) still believes in, and would wait for them
// for ever: there, one thread does it all. Sums do not depend on their number.
bool forked = false;

#ifndef _WIN32
[[maybe_unused]] const int watching_forks = pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif

}  // namespace

Parallel cpu_parallel() {
  return {[](int64_t n, int64_t grain, void (*f)(void*, int64_t, int64_t), void* context) {
    if (forked) return f(context, 0, n);
    at::parallel_for(0, n, grain, [&](int64_t begin, int64_t end) { f(context, begin, end); });
  }};
}

Device::Device(const at::Device& device) : kernels_(kernels_of(device)), device_(device) {
  if (device.is_cpu()) {
    thread_local unsigned ticket = 0;
    launch_.ticket = &ticket;
    launch_.parallel = cpu_parallel();
    return;
  }
#ifdef GENKERN_WITH_CUDA
  guard_.reset_device(device);
  launch_.stream = cuda::current_stream(device.index());
#endif
}

void Device::reserve_workspace(const Extent& extent, Reduction reduction, int losses) {
  if (losses) reserve_workspace(kernels_.workspace(extent, reduction, losses));
}

void Device::reserve_workspace(int64_t size) {
  if (size == 0) return;
  workspace_ = at::empty({size}, at::TensorOptions().dtype(at::kDouble).device(device_));
  launch_.workspace = workspace_.mutable_data_ptr<double>();
#ifdef GENKERN_WITH_CUDA
  if (device_.is_cuda()) launch_.ticket = cuda::ticket(device_.index(), launch_.stream);
#endif
}

void Device::check(Status status, const char* name) {
  TORCH_CHECK(status == nullptr, "genkern's ", name, " kernel was not launched: ", status);
}

}  // namespace genkern
