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

// The noise: eps if given, else made from the key; sample s of element i has index offset + s * numel + i.
struct Noise {
  Operand eps;
  int64_t eps_sample = 0;  // stride from one sample of eps to the next
  Key key{};
  uint64_t element_offset = 0;
};

enum class Reduction : uint8_t { none, event, total };

// What becomes of one value an element: itself, sums over rows, or one sum; times a factor.
struct Loss {
  Reduction reduction = Reduction::none;
  double factor = 1.0;
  Operand out;  // over the extent, [rows], or one element; of the compute type
};

// How a backend runs f(begin, end) over 0 ... n - 1 on several threads.
struct Parallel {
  void (*run)(int64_t n, int64_t grain, void (*f)(void*, int64_t, int64_t), void* context);
};

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
  Key key;
  uint64_t element_offset;
  void* out;  // contiguous
  DType dtype;
  int64_t numel;
};

// One implementation of everything above.
struct Kernels {
  const char* isa;
  void (*random_fill)(const RandomFill&, Parallel);
  void (*gaussian_head_forward)(const GaussianHeadForward&, double* workspace, Parallel);
  void (*gaussian_head_backward)(const GaussianHeadBackward&, Parallel);
  void (*gaussian_nll_forward)(const GaussianNllForward&, double* workspace, Parallel);
  void (*gaussian_nll_backward)(const GaussianNllBackward&, double* workspace, Parallel);
  void (*gaussian_entropy_forward)(const GaussianEntropyForward&, double* workspace, Parallel);
  void (*gaussian_entropy_backward)(const GaussianEntropyBackward&, Parallel);
};

}  // namespace genkern
