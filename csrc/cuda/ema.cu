// Exponential moving averages of many tensors on a GPU: the table of tensors travels with the launch, and each block
// finds the tensor of its chunk there.
#include <algorithm>
#include <memory>

#include "cuda/launch.cuh"

namespace genkern::cuda {
namespace {

constexpr int kEachThread = 8;  // groups of a chunk

// Tensors of a launch, whose arguments have 32764 bytes (from CUDA 12.1 on); a small table costs less to send.
constexpr int kFew = 100, kMany = 800;

template <int kCapacity>
struct Table {
  int count;
  double weight;
  int64_t first[kCapacity + 1];  // chunk of each tensor; behind the last, their number
  EmaTensor tensors[kCapacity];
};
static_assert(sizeof(Table<kFew>) <= 4096 && sizeof(Table<kMany>) <= 32764);

template <class E>
constexpr int64_t kChunkSize = static_cast<int64_t>(kThreads) * kEachThread * E::width;

template <class E, int kCapacity>
__global__ void __launch_bounds__(kThreads) ema_kernel(const __grid_constant__ Table<kCapacity> a) {
  using T = typename E::T;
  using Span = typename E::Span;
  const T weight = static_cast<T>(a.weight);
  for (int64_t chunk = blockIdx.x; chunk < a.first[a.count]; chunk += gridDim.x) {
    int low = 0, high = a.count - 1;  // the last tensor that begins at this chunk or before
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (a.first[middle] <= chunk) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    const EmaTensor& t = a.tensors[low];
    const Operand average{t.average, t.average_type, 0, 0, 1};
    const Operand value{const_cast<void*>(t.value), t.value_type, 0, 0, 1};
    typename E::Input before(average), towards(value);
    typename E::Output after(average);
    GK_NO_UNROLL
    for (int k = 0; k < kEachThread; ++k) {
      Span s{};
      s.elem = s.first = (chunk - a.first[low]) * kChunkSize<E> + (k * kThreads + threadIdx.x) * E::width;
      if (s.elem >= t.numel) break;
      s.to = t.numel - s.elem < E::width ? static_cast<int>(t.numel - s.elem) : E::width;
      before.fetch(s);
      towards.fetch(s);
      GK_UNROLL
      for (int i = 0; i < E::width; ++i) after.set(i, fma(weight, towards[i] - before[i], before[i]));
      after.commit(s);
    }
  }
}

template <class E, int kCapacity>
Status update(const EmaTensor* tensors, int count, double weight, const Launch& launch) {
  const auto table = std::make_unique<Table<kCapacity>>();
  table->count = count;
  table->weight = weight;
  table->first[0] = 0;
  for (int k = 0; k < count; ++k) {
    table->tensors[k] = tensors[k];
    table->first[k + 1] = table->first[k] + divide_up(tensors[k].numel, kChunkSize<E>);
  }
  const int64_t blocks = table->first[count] < kMostBlocks ? table->first[count] : kMostBlocks;
  return blocks ? start(blocks, launch, ema_kernel<E, kCapacity>, *table) : nullptr;
}

template <class E>
Status update_all(const EmaUpdate& a, const Launch& launch) {
  for (int64_t done = 0; done < a.count;) {
    const int count = static_cast<int>(std::min<int64_t>(a.count - done, kMany));
    const Status failed = count <= kFew ? update<E, kFew>(a.tensors + done, count, a.weight, launch)
                                        : update<E, kMany>(a.tensors + done, count, a.weight, launch);
    if (failed) return failed;
    done += count;
  }
  return nullptr;
}

}  // namespace

Status ema_update(const EmaUpdate& a, const Launch& launch) {
  return a.wide ? update_all<Engine<double, Any>>(a, launch) : update_all<Engine<float, Any, 4>>(a, launch);
}

}  // namespace genkern::cuda
