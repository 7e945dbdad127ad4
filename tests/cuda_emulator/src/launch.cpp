// Launches and errors.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "block.h"
#include "emulator/runtime_api.h"
#include "sanitizers.h"

namespace emulator {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
std::mutex one_launch;
std::map<const void*, size_t> allowed_shared;
std::string failure_text;
Random random_order;

// What a kernel may have without asking, and the most it may ask for on sm_90.
constexpr size_t kSharedByDefault = 48 * 1024, kSharedAtMost = 227 * 1024;

bool within_limits(const dim3& grid, const dim3& threads) {
  const auto in = [](uint64_t value, uint64_t most) { return value >= 1 && value <= most; };
  return in(grid.x, 0x7FFFFFFF) && in(grid.y, 65535) && in(grid.z, 65535) && in(threads.x, 1024) &&
         in(threads.y, 1024) && in(threads.z, 64) && in(uint64_t{threads.x} * threads.y * threads.z, 1024);
}

// The order of blocks, i -> (first + i * step) mod count: forward, backward, or scattered; never the same one twice
// in a row, so that a result that hangs on it is not reproduced.
struct BlockOrder {
  uint64_t count, first = 0, step = 1;

  explicit BlockOrder(uint64_t count) : count(count) {
    if (count == 1) return;
    const uint64_t kind = random_order() % 4;
    if (kind == 0) return;
    step = count - 1;
    first = count - 1;
    if (kind == 1) return;
    first = random_order() % count;
    step = 1 + random_order() % (count - 1);
    while (std::gcd(step, count) != 1) step = step % (count - 1) + 1;
  }
  uint64_t operator[](uint64_t i) const {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(i) * step + first) % count);
  }
};

// Exactly as long as asked, so that AddressSanitizer sees the end.
struct Shared {
  explicit Shared(size_t size) : size(size), bytes(size ? std::malloc(size) : nullptr) {}
  ~Shared() { std::free(bytes); }
  Shared(const Shared&) = delete;
  size_t size;
  void* bytes;
};

}  // namespace

cudaError_t fail_call(cudaError_t error) { return last_error = error; }

const char* last_failure() { return failure_text.c_str(); }

cudaError_t allow_dynamic_shared(const void* kernel, int bytes) {
  if (bytes < 0 || static_cast<size_t>(bytes) > kSharedAtMost) return fail_call(cudaErrorInvalidValue);
  const std::lock_guard lock(one_launch);
  allowed_shared[kernel] = static_cast<size_t>(bytes);
  return cudaSuccess;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, void (*thread)(void*), void* arguments) {
  const std::lock_guard lock(one_launch);
  const dim3 grid = config.gridDim;
  if (!within_limits(grid, config.blockDim)) return fail_call(cudaErrorInvalidConfiguration);
  const auto asked = allowed_shared.find(kernel);
  if (config.dynamicSmemBytes > std::max(kSharedByDefault, asked == allowed_shared.end() ? 0 : asked->second))
    return fail_call(cudaErrorInvalidValue);

  blockDim = config.blockDim;
  gridDim = grid;
  Task task{thread, arguments};
  // Blocks share it one after another; ThreadSanitizer would call that a race, so there each has its own to the end.
  std::vector<std::unique_ptr<Shared>> shared;
  const BlockOrder order(uint64_t{grid.x} * grid.y * grid.z);
  bool good = true;
  for (uint64_t i = 0; good && i < order.count; ++i) {
    const uint64_t b = order[i];
    blockIdx = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                static_cast<unsigned>(b / grid.x / grid.y)};
    if (i == 0 || kThreadSanitizer) shared.push_back(std::make_unique<Shared>(config.dynamicSmemBytes));
    shared_memory = shared.back()->bytes;
    if (config.dynamicSmemBytes != 0) std::memset(shared_memory, 0xFF, config.dynamicSmemBytes);
    if constexpr (kThreadSanitizer) {
      // On an OS thread of its own, whose __shared__ variables nobody has touched yet.
      std::thread([&] {
        // A library's thread-local variables come into being together, when the first is touched: here, since every
        // fibre is ordered after this.
        *const_cast<volatile cudaError_t*>(&last_error) = cudaSuccess;
        good = block.run(task);
      }).join();
    } else {
      good = block.run(task);
    }
  }
  acquire(&task.ended);
  if (good) return cudaSuccess;
  failure_text = block.failure;
  std::fprintf(stderr, "cuda emulator: launch failed: %s\n", failure_text.c_str());
  return fail_call(cudaErrorLaunchFailure);
}

}  // namespace emulator

cudaError_t cudaGetLastError() { return std::exchange(emulator::last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return emulator::last_error; }

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return emulator::fail_call(cudaErrorInvalidValue);
  *value = attribute == cudaDevAttrWarpSize ? 32 : emulator::kMultiprocessors;
  return cudaSuccess;
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorLaunchOutOfResources:
      return "cudaErrorLaunchOutOfResources";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorNotSupported:
      return "cudaErrorNotSupported";
    case cudaErrorUnknown:
      break;
  }
  return "cudaErrorUnknown";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorLaunchOutOfResources:
      return "too many resources requested for launch";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    case cudaErrorNotSupported:
      return "operation not supported";
    case cudaErrorUnknown:
      break;
  }
  return "unknown error";
}
