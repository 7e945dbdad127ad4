// The emulated kernels as a table that genkern._C takes for one more instruction set of the CPU.
#include "kernels.h"

#include "cuda/dispatch.h"

namespace genkern {
namespace {

template <class A>
KeySource* key_of(A& arguments) {
  if constexpr (requires { arguments.noise.key; }) {
    return &arguments.noise.key;
  } else if constexpr (requires { arguments.key.seed; }) {
    return &arguments.key;
  } else {
    return nullptr;
  }
}

// As for tensors on a GPU, whose key lies there too: every other key is passed in memory instead of by value.
template <class A, Status (*Kernels::*kKernel)(const A&, const Launch&)>
Status with_key_in_memory(const A& arguments, const Launch& launch) {
  A copy = arguments;
  KeySource* key = key_of(copy);
  uint64_t memory[2];
  if (key && !key->seed && key->value.seed % 2 == 0) {
    store_key(memory, key->value);
    key->seed = &memory[0];
    key->offset = &memory[1];
  }
  return (cuda_kernels().*kKernel)(copy, launch);
}

}  // namespace
}  // namespace genkern

extern "C" {

const genkern::Kernels* emulated_kernels() {
  using namespace genkern;
  static const Kernels kernels = [] {
    Kernels k = cuda_kernels();
    k.name = "cuda-emulated";
#define KERNEL(name, Arguments) k.name = with_key_in_memory<Arguments, &Kernels::name>;
#include "kernels.def"
    return k;
  }();
  return &kernels;
}

// n samples of N(0, 1) whose key is drawn from a generator's raw state, as a captured graph has it: in memory, and
// `added` beyond the offset there. The key that was used is left in `key`.
const char* draw(uint64_t seed, uint64_t offset, uint64_t added, int64_t n, float* zeros, float* z, uint64_t* key) {
  using namespace genkern;
  const uint64_t state[2] = {seed, offset};
  const Operand dense{zeros, DType::f32, n, 0, 1};
  GaussianHeadForward a;
  a.extent = {1, 1, n};
  a.loc = a.scale = a.z = dense;
  a.z.data = z;
  a.samples = 1;
  a.noise.key.seed = &state[0];
  a.noise.key.offset = &state[1];
  a.noise.key.added = added;
  a.noise.key.raw = true;
  a.noise.key.out = key;
  return cuda_kernels().gaussian_sample_forward(a, Launch{});
}
}
