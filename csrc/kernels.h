// The launch interface of a backend: plain pointers, sizes, strides and options. csrc/cpu and csrc/cuda
// implement it; csrc/ops fills it in.
#pragma once

#include <cstdint>
#include <type_traits>

#include "math/options.h"
#include "math/philox.h"

namespace genkern {

// The types of numbers in memory; integers, the last ones, of counts alone.
enum class DType : uint8_t { f32, f64, bf16, f16, i16, i32, i64 };

// Every loss is over [rows, event]; the event is `runs` runs of `length` elements. Two levels hold what real
// tensors need: chunks of a packed tensor, one value a channel, channels-last.
struct Extent {
  int64_t rows = 1, runs = 1, length = 1;
  int64_t chunks_a_part = 1;  // of a CPU; each part has its own sums of an operand that is summed
  constexpr int64_t event() const { return runs * length; }
  constexpr int64_t numel() const { return rows * event(); }
};

// A tensor over an extent; strides in elements, 0 where it is broadcast. No data: the argument is absent. Elements of a
// broadcast result are added to doubles, where the backend can do that.
struct Operand {
  void* data = nullptr;
  DType dtype = DType::f32;
  int64_t row = 0, run = 0, elem = 0;
  int64_t part = -1;  // stride from the sums of a part of the extent to those of the next; negative: no sums
  constexpr explicit operator bool() const { return data != nullptr; }
  constexpr bool summed() const { return part >= 0; }
};

// The gradient of a loss, or what else has the type of arithmetic whatever the other operands have.
struct LossOperand : Operand {};

// A struct of arguments lists its operands, arrays of them and losses once: what(o) is called for each. From this list
// a GPU chooses the kernels that fit their storage types and strides; an operand that is missing would be read as
// float.
#define GK_OPERANDS(...)                                \
  template <class What>                                 \
  constexpr void each_operand(const What& what) const { \
    genkern::each(what, __VA_ARGS__);                   \
  }                                                     \
  template <class What>                                 \
  constexpr void each_operand(const What& what) {       \
    genkern::each(what, __VA_ARGS__);                   \
  }
#define GK_MORE_OPERANDS(Base, ...)                     \
  template <class What>                                 \
  constexpr void each_operand(const What& what) const { \
    Base::each_operand(what);                           \
    genkern::each(what, __VA_ARGS__);                   \
  }                                                     \
  template <class What>                                 \
  constexpr void each_operand(const What& what) {       \
    Base::each_operand(what);                           \
    genkern::each(what, __VA_ARGS__);                   \
  }
template <class What, class O>
constexpr void each_of(const What& what, O& operands) {
  if constexpr (std::is_array_v<O>) {
    for (auto& operand : operands) what(operand);
  } else {
    what(operands);
  }
}
template <class What, class... O>
constexpr void each(const What& what, O&... operands) {
  (each_of(what, operands), ...);
}

// The place of a launch's key: by value, or in the memory of its device. What is found may be the raw state of a
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

// The stream of a key, from an element on.
struct KeyStream {
  KeySource key{};
  uint64_t element_offset = 0;
};

// A number for each element: eps if given, else made from the key; sample s of element i has index
// element_offset + s * numel + i.
struct Noise : KeyStream {
  Operand eps;
  int64_t eps_sample = 0;  // stride from one sample of eps to the next
};

// A number for each row: eps if given, else uniform; row i has index element_offset + i.
struct RowNoise : KeyStream {
  Operand eps;
};

enum class Reduction : uint8_t { none, event, total };

// The reduction of one value an element: the values themselves, sums over rows, or one sum; times a factor.
struct Loss {
  Reduction reduction = Reduction::none;
  double factor = 1.0;
  Operand out;  // over the extent, [rows], or one element; of the compute type
};

// The kernels of an op whose result is a loss over the operands of A: forward makes it, backward is given its gradient.
template <class A>
struct LossOf : A {
  using Inputs = A;
  Loss loss;
  GK_MORE_OPERANDS(A, loss)
};

template <class A>
struct GradientOf : A {
  using Inputs = A;
  LossOperand grad;
  double factor = 1.0;
  GK_MORE_OPERANDS(A, grad)
};

// How the CPU runs f(begin, end) over 0 ... n - 1 on several threads.
struct Parallel {
  void (*run)(int64_t n, int64_t grain, void (*f)(void*, int64_t, int64_t), void* context);
};

// The means of a launch besides its arguments. Each backend takes what it needs.
struct Launch {
  Parallel parallel{};
  void* stream = nullptr;
  double* workspace = nullptr;  // as many doubles as the backend's workspace() says
  unsigned* ticket = nullptr;   // 0 before the launch and after it
};

// Null, or what the device said: the launch was refused.
using Status = const char*;

// A launch over an extent.
struct Elements {
  Extent extent;
  bool wide = false;  // compute in double
};

struct GaussianHead : Elements {
  Operand loc, scale, prior_loc, prior_scale;
  ScaleOptions scale_options;
  // Sampling; no samples: z is not asked for.
  int64_t samples = 0;
  Noise noise;
  double temperature = 1.0;
  // Divergence.
  bool divergence = false;
  double free_nats = 0.0;
  GK_OPERANDS(loc, scale, prior_loc, prior_scale, noise.eps)
};

struct GaussianHeadForward : GaussianHead {
  Operand z;
  int64_t z_sample = 0;
  Loss kl;
  GK_MORE_OPERANDS(GaussianHead, z, kl)
};

struct GaussianHeadBackward : GaussianHead {
  Operand grad_z;  // gradients are absent where they are zero
  LossOperand grad_kl;
  int64_t grad_z_sample = 0;
  double kl_factor = 1.0, grad_scale_q = 1.0, grad_scale_p = 1.0;
  Operand d_loc, d_scale, d_prior_loc, d_prior_scale, d_eps;
  int64_t d_eps_sample = 0;
  GK_MORE_OPERANDS(GaussianHead, grad_z, grad_kl, d_loc, d_scale, d_prior_loc, d_prior_scale, d_eps)
};

// q is relative to p: its location is prior_loc + delta_loc, its standard deviation the product of theirs.
struct GaussianResidual : Elements {
  Operand prior_loc, prior_scale, delta_loc, delta_scale;
  ScaleOptions scale_options;
  Noise noise;
  double temperature = 1.0;
  double free_nats = 0.0;
  GK_OPERANDS(prior_loc, prior_scale, delta_loc, delta_scale, noise.eps)
};

struct GaussianResidualForward : GaussianResidual {
  Operand z;
  Loss kl, log_q, log_p;  // of one reduction
  GK_MORE_OPERANDS(GaussianResidual, z, kl, log_q, log_p)
};

struct GaussianResidualBackward : GaussianResidual {
  Operand grad_z;  // gradients are absent where they are zero
  LossOperand grad_kl, grad_log_q, grad_log_p;
  double factor = 1.0, grad_scale_q = 1.0, grad_scale_p = 1.0;
  Operand d_prior_loc, d_prior_scale, d_delta_loc, d_delta_scale, d_eps;
  GK_MORE_OPERANDS(GaussianResidual, grad_z, grad_kl, grad_log_q, grad_log_p, d_prior_loc, d_prior_scale, d_delta_loc,
                   d_delta_scale, d_eps)
};

// -log p(x) for a family of densities with a location and a scale.
struct LocScaleNll : Elements {
  Operand x, loc, scale;  // no scale: scale_value
  double scale_value = 0.0;
  bool full = true;  // with the constant term
  ScaleOptions scale_options;
  Bins bins;  // of discretized data, with
  Cdf cdf = Cdf::exact;
  GK_OPERANDS(x, loc, scale)
};

struct LocScaleNllForward : LossOf<LocScaleNll> {};

struct LocScaleNllBackward : GradientOf<LocScaleNll> {
  Operand d_x, d_loc;
  Loss d_scale_sum;  // instead of d_scale where one scale serves a whole row
  Operand d_scale;
  GK_MORE_OPERANDS(GradientOf<LocScaleNll>, d_x, d_loc, d_scale_sum, d_scale)
};

struct GaussianEntropy : Elements {
  Operand scale;
  ScaleOptions scale_options;
  GK_OPERANDS(scale)
};

struct GaussianEntropyForward : LossOf<GaussianEntropy> {};

struct GaussianEntropyBackward : GradientOf<GaussianEntropy> {
  Operand d_scale;
  GK_MORE_OPERANDS(GradientOf<GaussianEntropy>, d_scale)
};

// A term of N numbers an element, such as -log p(x) of a distribution with N - 1 parameters, or -p log p.
template <int N>
struct Terms : Elements {
  Operand of[N];
  TermOptions options;
  GK_OPERANDS(of)
};

template <int N>
struct TermsForward : LossOf<Terms<N>> {};

template <int N>
struct TermsBackward : GradientOf<Terms<N>> {
  Operand d[N];
  GK_MORE_OPERANDS(GradientOf<Terms<N>>, d)
};

// Points against components, dense: z [B, D], loc [C, D], and of the type of arithmetic, as is all that follows.
struct GaussianMixture {
  bool wide = false;
  int64_t points = 0, components = 0, dims = 0;
  const void *z = nullptr, *loc = nullptr, *log_scale = nullptr;
  int64_t log_scale_row = 0, log_scale_elem = 0;  // strides; 0 where it is broadcast
  const void* log_weights = nullptr;              // absent: uniform
  int64_t log_weights_row = 0;                    // 0: the same for every point
  bool marginals = false;
};

struct GaussianMixtureForward : GaussianMixture {
  void *joint = nullptr, *marginal = nullptr;  // [B], [B, D]
  // The sums of exp(log density of a component - what is in their place above): 1 but for the rounding of that, which
  // is large where the point is far from every component. Posterior weights are relative to them.
  void *joint_total = nullptr, *marginal_total = nullptr;
};

struct GaussianMixtureBackward : GaussianMixture {
  const void *joint = nullptr, *marginal = nullptr;            // what forward found
  const void *grad_joint = nullptr, *grad_marginal = nullptr;  // over the totals; absent where the gradient is zero
  void *d_z = nullptr, *d_loc = nullptr, *d_log_scale = nullptr, *d_log_weights = nullptr;  // in full: [C, D], ...
};

// The extent is that of the pixels; x and params have channels besides, at a stride of their own.
struct LogisticMixture : Elements {
  Operand x, params;
  int64_t x_channel = 0, params_channel = 0;
  int64_t mixtures = 0, channels = 0;
  Bins bins;
  double min_log_scale = 0.0;
  GK_OPERANDS(x, params)
};

struct LogisticMixtureForward : LossOf<LogisticMixture> {};

struct LogisticMixtureBackward : GradientOf<LogisticMixture> {
  Operand d_x, d_params;
  int64_t d_x_channel = 0, d_params_channel = 0;
  GK_MORE_OPERANDS(GradientOf<LogisticMixture>, d_x, d_params)
};

// A tensor with classes: the extent is that of its other dimensions, and every element has one value a class.
struct ClassOperand : Operand {
  int64_t each = 0;  // stride from one class to the next
};

struct Classes : Elements {
  int64_t classes = 0;
};

// The entropy of the logits q, or their divergence from p, which is uniform where absent.
struct Categorical : Classes {
  ClassOperand q, p;
  bool divergence = false;
  double unimix = 0.0, free_nats = 0.0;
  GK_OPERANDS(q, p)
};

struct CategoricalForward : LossOf<Categorical> {};

struct CategoricalBackward : GradientOf<Categorical> {
  double grad_scale_q = 1.0, grad_scale_p = 1.0;
  ClassOperand d_q, d_p;
  GK_MORE_OPERANDS(GradientOf<Categorical>, d_q, d_p)
};

struct GumbelSoftmax : Classes {
  ClassOperand logits, eps;  // no eps: noise from the key
  KeyStream noise;
  int64_t inner = 1;  // elements behind the classes in the order of the noise
  double tau = 1.0;
  bool hard = false;
  GK_OPERANDS(logits, eps)
};

struct GumbelSoftmaxForward : GumbelSoftmax {
  ClassOperand y;
  GK_MORE_OPERANDS(GumbelSoftmax, y)
};

struct GumbelSoftmaxBackward : GumbelSoftmax {
  ClassOperand y;  // the relaxed sample as forward had it; absent: logits and noise make it again
  ClassOperand grad, d_logits, d_eps;
  GK_MORE_OPERANDS(GumbelSoftmax, y, grad, d_logits, d_eps)
};

// Two sets of points, dense: x [B, D], y [C, D], and of the type of arithmetic, as is all that follows.
inline constexpr int kMostScales = 16;

struct Mmd {
  bool wide = false;
  int64_t x_rows = 0, y_rows = 0, dims = 0;
  const void *x = nullptr, *y = nullptr;
  bool inverse_multiquadric = false;  // or else radial basis functions
  bool unbiased = false;              // the mean over a set leaves out the pairs of a point and itself
  int scales = 0;
  double scale[kMostScales] = {};  // squared bandwidths
};

struct MmdForward : Mmd {
  void* value = nullptr;  // one
};

struct MmdBackward : Mmd {
  const void* grad = nullptr;           // one
  void *d_x = nullptr, *d_y = nullptr;  // absent where it is not asked for
};

// Logits of a discriminator, dense; of one kind there may be more than of the other. The extent is that of the longer.
struct GanLoss : Elements {
  bool relativistic = false;  // of_fake is a term of fake - real, which are as many
  Operand real, fake;         // no real: no term of it
  int64_t reals = 0, fakes = 0;
  GanTerm of_real, of_fake;
  GK_OPERANDS(real, fake)
};

struct GanLossForward : LossOf<GanLoss> {};

struct GanLossBackward : GanLoss {
  LossOperand grad;
  Operand d_real, d_fake;
  GK_MORE_OPERANDS(GanLoss, grad, d_real, d_fake)
};

// eps real + (1 - eps) fake, one uniform eps a row.
struct Interpolate : Elements {
  RowNoise noise;
  Operand real, fake;
  GK_OPERANDS(real, fake)
};

struct InterpolateForward : Interpolate {
  Operand out;
  GK_MORE_OPERANDS(Interpolate, out)
};

struct InterpolateBackward : Interpolate {
  Operand grad, d_real, d_fake;
  Loss d_eps;  // summed over rows; no data: not asked for
  GK_MORE_OPERANDS(Interpolate, grad, d_real, d_fake, d_eps)
};

// Sums of squares of the rows of a gradient.
struct SquaredNorm : Elements {
  Operand x;
  Loss squares;
  GK_OPERANDS(x, squares)
};

// Turns squared norms, an element each, into norms and the loss (norm - center)^2.
struct CenteredNorm : Elements {
  double center = 1.0;
  LossOperand squares, norms;
  Loss penalty;
  GK_OPERANDS(squares, norms, penalty)
};

// The gradient of either: factor grad x, times 1 - center / norm where norms are given, whose own gradient is added.
struct NormBackward : Elements {
  double center = 1.0, factor = 1.0;
  Operand x, d_x;
  LossOperand norms, grad, grad_norms;  // gradients are absent where they are zero
  GK_OPERANDS(x, norms, grad, grad_norms, d_x)
};

// The standard deviation over the members of a group, averaged over the elements of a row. Member k of a row lies
// `member` elements behind member k - 1, all of them dense; beyond `numel` there are none, so the last rows may have
// one member less.
struct MinibatchStddev : Elements {
  Operand x;
  int64_t members = 0, member = 0, numel = 0;
  double eps = 0.0;
  GK_OPERANDS(x)
};

struct MinibatchStddevForward : LossOf<MinibatchStddev> {};

struct MinibatchStddevBackward : GradientOf<MinibatchStddev> {
  Operand upstream;  // added to the result; its members lie `upstream_member` apart
  int64_t upstream_member = 0;
  Operand d_x;
  GK_MORE_OPERANDS(GradientOf<MinibatchStddev>, upstream, d_x)
};

// average += weight (value - average), dense tensors of as many elements.
struct EmaTensor {
  void* average;
  const void* value;
  int64_t numel;
  DType average_type, value_type;
};

struct EmaUpdate {
  const EmaTensor* tensors;
  int64_t count;
  double weight;
  bool wide;  // of all of them
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
  bool sums;  // whether results may be summed (Operand::part)
  // Doubles that a reduction to that many losses needs besides its results.
  int64_t (*workspace)(const Extent&, Reduction, int losses);
#define KERNEL(name, Arguments) Status (*name)(const Arguments&, const Launch&);
#define WORKSPACE(name, Arguments)               \
  int64_t (*name##_workspace)(const Arguments&); \
  KERNEL(name, Arguments)
#include "kernels.def"
};

}  // namespace genkern
