#include "ops/device.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <atomic>
#include <exception>

#ifndef _WIN32
#include <pthread.h>
#endif

#include "cpu/dispatch.h"
#ifdef GENKERN_WITH_CUDA
#include "cuda/dispatch.h"
#include "ops/cuda/context.h"
#endif

#if AT_PARALLEL_OPENMP
// `#pragma omp parallel` would become calls of the compiler's own OpenMP runtime. torch has loaded GNU's or LLVM's, and
// both have these functions: by them kernels run on torch's threads, whatever compiler is used. Null where neither is.
extern "C" {
[[gnu::weak]] void GOMP_parallel(void (*f)(void*), void* data, unsigned threads, unsigned flags);
[[gnu::weak]] int omp_get_num_threads();
[[gnu::weak]] int omp_get_thread_num();
}
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

// Does what at::parallel_for(0, n, grain, f) would do if the compiler were told of OpenMP. As it is not, that function
// takes one thread; it serves where torch has no OpenMP.
template <class F>
void share(int64_t n, int64_t grain, const F& f) {
#if AT_PARALLEL_OPENMP
  at::internal::lazy_init_num_threads();
  if (n > grain && n > 1 && !at::in_parallel_region() && at::get_num_threads() > 1 && GOMP_parallel) {
    struct Work {
      int64_t n, grain;
      const F& f;
      std::atomic_flag failed = ATOMIC_FLAG_INIT;
      std::exception_ptr failure;
    } work{n, grain, f, {}, {}};
    const auto part = [](void* data) {
      Work& w = *static_cast<Work*>(data);
      const int64_t parts = std::min<int64_t>(omp_get_num_threads(), at::divup(w.n, std::max<int64_t>(w.grain, 1)));
      const int64_t each = at::divup(w.n, parts), begin = omp_get_thread_num() * each;
      if (begin >= w.n) return;
      try {
        at::internal::ThreadIdGuard id(omp_get_thread_num());
        c10::ParallelGuard guard(true);
        w.f(begin, std::min(w.n, begin + each));
      } catch (...) {
        if (!w.failed.test_and_set()) w.failure = std::current_exception();
      }
    };
    GOMP_parallel(part, &work, 0, 0);
    if (work.failure) std::rethrow_exception(work.failure);
    return;
  }
#endif
  at::parallel_for(0, n, grain, f);
}

}  // namespace

Parallel cpu_parallel() {
  return {[](int64_t n, int64_t grain, void (*f)(void*, int64_t, int64_t), void* context) {
    if (forked) return f(context, 0, n);
    share(n, grain, [&](int64_t begin, int64_t end) { f(context, begin, end); });
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
