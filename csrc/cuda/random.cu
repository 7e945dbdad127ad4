// Keys and noise on a GPU.
#include "cuda/launch.cuh"

namespace genkern::cuda {
namespace {

struct Fill {
  Extent extent;
  Distribution distribution;
  Noise noise;
  Operand out;
};

template <class E>
struct FillTile {
  using T = typename E::T;
  const Fill& a;
  Key key;
  typename E::Output out;

  GK_DEVICE explicit FillTile(const Fill& a) : a(a), key(block_key(a.noise.key)), out(a.out) {}

  GK_DEVICE void operator()(const typename E::Span& s) {
    T values[E::width] = {};
    const uint64_t index = a.noise.element_offset + static_cast<uint64_t>(s.first);
    if (a.distribution == Distribution::normal) {
      stream<Normal>(key, index, values);
    } else {
      stream<Uniform>(key, index, values);
    }
    GK_UNROLL
    for (int k = 0; k < E::width; ++k) out.set(k, values[k]);
    out.commit(s);
  }
};

__global__ void __launch_bounds__(kThreads) split_kernel(const __grid_constant__ KeySplit a) {
  const Key key = block_key(a.key);
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < a.count;
       i += static_cast<int64_t>(gridDim.x) * kThreads)
    store_key(a.out + 2 * i, split(key, a.first + i));
}

}  // namespace

Status key_split(const KeySplit& a, const Launch& launch) {
  const int64_t blocks = divide_up(a.count, kThreads);
  return start(blocks < 1 ? 1 : blocks < kMostBlocks ? blocks : kMostBlocks, launch, split_kernel, a);
}

Status random_fill(const RandomFill& x, const Launch& launch) {
  const Fill fill{
      {1, 1, x.numel}, x.distribution, {{x.key, x.element_offset}, {}, 0}, {x.out, x.dtype, x.numel, x.numel, 1}};
  const auto run = [&](auto engine) {
    using E = decltype(engine);
    return map_tiles<E, FillTile<E>>(fill, launch);
  };
  return x.dtype == DType::f64 ? run(Engine<double, Any>()) : with_plain_engine<Fill>(x.dtype, run);
}

}  // namespace genkern::cuda
