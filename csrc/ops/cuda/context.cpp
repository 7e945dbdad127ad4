#include "ops/cuda/context.h"

#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGraphsC10Utils.h>
#include <c10/cuda/CUDAStream.h>

#include <map>
#include <mutex>

namespace genkern::cuda {
namespace {

// The tickets of one device. Launches of a stream follow one another, so they share one. A captured launch may be
// replayed beside anything, so it has one of its own, for good: 4 bytes.
class Tickets {
 public:
  unsigned* of(void* stream, bool captured) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (captured) return take();
    unsigned*& ticket = by_stream_[stream];
    if (ticket == nullptr) ticket = take();
    return ticket;
  }

 private:
  static constexpr size_t kChunk = 16384;
  std::mutex mutex_;
  std::map<void*, unsigned*> by_stream_;
  unsigned* next_ = nullptr;
  size_t left_ = 0;

  unsigned* take() {
    if (left_ == 0) allocate();
    --left_;
    return next_++;
  }

  // Once for thousands of tickets, and never given back. It may be the first thing that happens in a capture, which
  // must not see it.
  void allocate() {
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    C10_CUDA_CHECK(cudaThreadExchangeStreamCaptureMode(&mode));
    cudaStream_t stream = nullptr;
    C10_CUDA_CHECK(cudaMalloc(&next_, kChunk * sizeof(unsigned)));
    C10_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    C10_CUDA_CHECK(cudaMemsetAsync(next_, 0, kChunk * sizeof(unsigned), stream));
    C10_CUDA_CHECK(cudaStreamSynchronize(stream));
    C10_CUDA_CHECK(cudaStreamDestroy(stream));
    C10_CUDA_CHECK(cudaThreadExchangeStreamCaptureMode(&mode));
    left_ = kChunk;
  }
};

}  // namespace

void* current_stream(c10::DeviceIndex device) { return c10::cuda::getCurrentCUDAStream(device).stream(); }

unsigned* ticket(c10::DeviceIndex device, void* stream) {
  static std::mutex mutex;
  static std::map<c10::DeviceIndex, Tickets> tickets;  // not given back: CUDA may be gone before this is
  Tickets* of_device;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    of_device = &tickets[device];
  }
  const bool captured = c10::cuda::currentStreamCaptureStatusMayInitCtx() != c10::cuda::CaptureStatus::None;
  return of_device->of(stream, captured);
}

KeySource generator_slot(const std::optional<at::Generator>& generator, c10::DeviceIndex device) {
  auto* g =
      at::get_generator_or_default<at::CUDAGeneratorImpl>(generator, at::cuda::detail::getDefaultCUDAGenerator(device));
  TORCH_CHECK_VALUE(g->device().index() == device, "generator: expected device cuda:", static_cast<int>(device),
                    ", got ", g->device());
  const std::lock_guard<std::mutex> lock(g->mutex_);
  const at::PhiloxCudaState state = g->philox_cuda_state(4);
  KeySource source;
  source.raw = true;
  if (state.captured_) {
    source.seed = reinterpret_cast<const uint64_t*>(state.seed_.ptr);
    source.offset = reinterpret_cast<const uint64_t*>(state.offset_.ptr);
    source.added = state.offset_intragraph_;
  } else {
    source.value = {state.seed_.val, state.offset_.val};
  }
  return source;
}

}  // namespace genkern::cuda
