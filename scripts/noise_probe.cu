// What noise costs on the device: scripts/cuda_floors.py compiles this and counts the instructions between the pairs
// of kernels. Each thread takes one counter; `words` stores as many values without making noise.
#include "math/normal.h"

namespace genkern {

__device__ uint64_t index() { return static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

__global__ void words(Key key, float4* out) {
  const auto i = index(), counter = key.offset + i;
  const auto x = static_cast<uint32_t>(counter) ^ static_cast<uint32_t>(key.seed);
  out[i] = {__uint_as_float(x), __uint_as_float(x), __uint_as_float(x), __uint_as_float(x)};
}

__global__ void philox_words(Key key, float4* out) {
  const auto i = index();
  const Words w = philox(key.seed, key.offset + i);
  out[i] = {__uint_as_float(w.x0), __uint_as_float(w.x1), __uint_as_float(w.x2), __uint_as_float(w.x3)};
}

__global__ void normals_float(Key key, float4* out) {
  const auto i = index();
  const Words w = philox(key.seed, key.offset + i);
  const Pair<float> p = box_muller(open_unit(static_cast<float>(w.x0)), open_unit(static_cast<float>(w.x1)));
  const Pair<float> q = box_muller(open_unit(static_cast<float>(w.x2)), open_unit(static_cast<float>(w.x3)));
  out[i] = {p.first, p.second, q.first, q.second};
}

__global__ void normals_double(Key key, double2* out) {
  const auto i = index();
  const Words w = philox(key.seed, key.offset + i);
  const Pair<double> p = box_muller(open_unit(w.x0, w.x1), open_unit(w.x2, w.x3));
  out[i] = {p.first, p.second};
}

}  // namespace genkern
