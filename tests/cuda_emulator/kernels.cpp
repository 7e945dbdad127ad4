// The emulated kernels as a table that genkern._C takes for one more instruction set of the CPU.
#include "kernels.h"

#include "cuda/dispatch.h"

namespace genkern {
namespace {

// As for tensors on a GPU, whose key lies there too: every other key is passed in memory instead of by value.
template <class A>
KeySource& key_of(A& arguments) {
  return arguments.noise.key;
}
KeySource& key_of(RandomFill& arguments) { return arguments.key; }
KeySource& key_of(KeySplit& arguments) { return arguments.key; }

template <class A, Status (*Kernels::*kKernel)(const A&, const Launch&)>
Status with_key_in_memory(const A& arguments, const Launch& launch) {
  A copy = arguments;
  KeySource& key = key_of(copy);
  uint64_t memory[2];
  if (!key.seed && key.value.seed % 2 == 0) {
    store_key(memory, key.value);
    key.seed = &memory[0];
    key.offset = &memory[1];
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
    k.key_split = with_key_in_memory<KeySplit, &Kernels::key_split>;
    k.random_fill = with_key_in_memory<RandomFill, &Kernels::random_fill>;
    k.gaussian_head_forward = with_key_in_memory<GaussianHeadForward, &Kernels::gaussian_head_forward>;
    k.gaussian_head_backward = with_key_in_memory<GaussianHeadBackward, &Kernels::gaussian_head_backward>;
    k.gaussian_residual_forward = with_key_in_memory<GaussianResidualForward, &Kernels::gaussian_residual_forward>;
    k.gaussian_residual_backward = with_key_in_memory<GaussianResidualBackward, &Kernels::gaussian_residual_backward>;
    k.gumbel_softmax_forward = with_key_in_memory<GumbelSoftmaxForward, &Kernels::gumbel_softmax_forward>;
    k.gumbel_softmax_backward = with_key_in_memory<GumbelSoftmaxBackward, &Kernels::gumbel_softmax_backward>;
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
  return cuda_kernels().gaussian_head_forward(a, Launch{});
}
}
