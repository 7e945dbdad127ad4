// What the operations ask of a backend: plain pointers, sizes, strides and options. csrc/cpu and csrc/cuda
// implement it; csrc/ops fills it in.
#pragma once

#include <cstdint>

#include "math/options.h"
#include "math/philox.h"

namespace genkern {

enum class DType : uint8_t { f32, f64, bf16, f16 };

// Every loss is over [rows, event]; the event is `runs` runs of `length` elements. Two levels hold what real
// tensors need: chunks of a packed tensor, one value a channel, channels-last.
struct Extent {
  int64_t rows = 1, runs = 1, length = 1;
  constexpr int64_t event() const { return runs * length; }
  constexpr int64_t numel() const { return rows * event(); }
};

// A tensor over an extent; strides in elements, 0 where it is broadcast. No data: the argument is absent.
struct Operand {
  void* data = nullptr;
  DType dtype = DType::f32;
  int64_t row = 0, run = 0, elem = 0;
  constexpr explicit operator bool() const { return data != nullptr; }
};

// Where a launch finds its key: by value, or in the memory of its device. What is found may be the raw state of a
// torch generator, which is no key before it is folded (math/philox.h); the key that was used is left in `out`.
struct KeySource {
  Key value{};
  const uint64_t* seed = nullptr;  // null: by value
  const uint64_t* offset = nullptr;
  uint64_t added = 0;  // to the offset in memory
  bool raw = false;
  uint64_t* out = nullptr;

  GK_INLINE Key resolve() const {
    const Key found = seed ? Key{*seed, *offset + added} : value;
    return raw ? fold(found.seed, found.offset) : found;
  }
};

// The noise: eps if given, else made from the key; sample s of element i has index offset + s * numel + i.
struct Noise {
  Operand eps;
  int64_t eps_sample = 0;  // stride from one sample of eps to the next
  KeySource key{};
  uint64_t element_offset = 0;
};

enum class Reduction : uint8_t { none, event, total };

// What becomes of one value an element: itself, sums over rows, or one sum; times a factor.
struct Loss {
  Reduction reduction = Reduction::none;
  double factor = 1.0;
  Operand out;  // over the extent, [rows], or one element; of the compute type
};

// How the CPU runs f(begin, end) over 0 ... n - 1 on several threads.
struct Parallel {
  void (*run)(int64_t n, int64_t grain, void (*f)(void*, int64_t, int64_t), void* context);
};

// What a launch is given besides its arguments: each backend uses what it has a use for.
struct Launch {
  Parallel parallel{};
  void* stream = nullptr;
  double* workspace = nullptr;  // as many doubles as the backend's workspace() says
  unsigned* ticket = nullptr;   // 0 before the launch and after it
};

// Null, or what the device said: the launch was refused.
using Status = const char*;

struct GaussianHead {
  Extent extent;
  bool wide = false;  // compute in double
  Operand loc, scale, prior_loc, prior_scale;
  ScaleOptions scale_options;
  // Sampling; no samples: z is not asked for.
  int64_t samples = 0;
  Noise noise;
  double temperature = 1.0;
  // Divergence.
  bool divergence = false;
  double free_nats = 0.0;
};

struct GaussianHeadForward : GaussianHead {
  Operand z;
  int64_t z_sample = 0;
  Loss kl;
};

struct GaussianHeadBackward : GaussianHead {
  Operand grad_z, grad_kl;  // absent where the gradient is zero
  int64_t grad_z_sample = 0;
  double kl_factor = 1.0, grad_scale_q = 1.0, grad_scale_p = 1.0;
  Operand d_loc, d_scale, d_prior_loc, d_prior_scale, d_eps;
  int64_t d_eps_sample = 0;
};

// q is relative to p: its location is prior_loc + delta_loc, its standard deviation the product of theirs.
struct GaussianResidual {
  Extent extent;
  bool wide = false;
  Operand prior_loc, prior_scale, delta_loc, delta_scale;
  ScaleOptions scale_options;
  Noise noise;
  double temperature = 1.0;
  double free_nats = 0.0;
};

struct GaussianResidualForward : GaussianResidual {
  Operand z;
  Loss kl, log_q, log_p;  // of one reduction
};

struct GaussianResidualBackward : GaussianResidual {
  Operand grad_z, grad_kl, grad_log_q, grad_log_p;  // absent where the gradient is zero
  double factor = 1.0, grad_scale_q = 1.0, grad_scale_p = 1.0;
  Operand d_prior_loc, d_prior_scale, d_delta_loc, d_delta_scale, d_eps;
};

struct GaussianNll {
  Extent extent;
  bool wide = false;
  Operand x, loc, scale;  // no scale: scale_value
  double scale_value = 0.0;
  bool full = true;
  ScaleOptions scale_options;
};

struct GaussianNllForward : GaussianNll {
  Loss nll;
};

struct GaussianNllBackward : GaussianNll {
  Operand grad;
  double factor = 1.0;
  Operand d_x, d_loc, d_scale;
  Loss d_scale_sum;  // instead of d_scale where one scale serves a whole row
};

struct GaussianEntropy {
  Extent extent;
  bool wide = false;
  Operand scale;
  ScaleOptions scale_options;
};

struct GaussianEntropyForward : GaussianEntropy {
  Loss entropy;
};

struct GaussianEntropyBackward : GaussianEntropy {
  Operand grad;
  double factor = 1.0;
  Operand d_scale;
};

enum class Distribution : uint8_t { normal, uniform };

struct RandomFill {
  Distribution distribution;
  KeySource key;
  uint64_t element_offset;
  void* out;  // contiguous
  DType dtype;
  int64_t numel;
};

// Keys first, first + 1, ... of those that a key splits into; or, count 0, no more than the key itself in its `out`.
struct KeySplit {
  KeySource key;
  uint64_t first;
  int64_t count;
  uint64_t* out;  // [count, 2]
};

// One backend: an implementation of everything above.
struct Kernels {
  const char* name;
  // Doubles that a reduction to that many losses needs besides its results.
  int64_t (*workspace)(const Extent&, Reduction, int losses);
  Status (*key_split)(const KeySplit&, const Launch&);
  Status (*random_fill)(const RandomFill&, const Launch&);
  Status (*gaussian_head_forward)(const GaussianHeadForward&, const Launch&);
  Status (*gaussian_head_backward)(const GaussianHeadBackward&, const Launch&);
  Status (*gaussian_residual_forward)(const GaussianResidualForward&, const Launch&);
  Status (*gaussian_residual_backward)(const GaussianResidualBackward&, const Launch&);
  Status (*gaussian_nll_forward)(const GaussianNllForward&, const Launch&);
  Status (*gaussian_nll_backward)(const GaussianNllBackward&, const Launch&);
  Status (*gaussian_entropy_forward)(const GaussianEntropyForward&, const Launch&);
  Status (*gaussian_entropy_backward)(const GaussianEntropyBackward&, const Launch&);
};

}  // namespace genkern
