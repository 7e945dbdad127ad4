// Losses of a GAN: checks, allocation, launch.
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <limits>

#include "ops/arguments.h"
#include "ops/device.h"

namespace genkern::gan_loss_op {

enum class Kind { minimax, non_saturating, hinge, lsgan, wgan, relativistic };

Kind parse_kind(std::string_view kind) {
  static constexpr std::pair<const char*, Kind> kinds[] = {
      {"minimax", Kind::minimax}, {"non_saturating", Kind::non_saturating},
      {"hinge", Kind::hinge},     {"lsgan", Kind::lsgan},
      {"wgan", Kind::wgan},       {"relativistic", Kind::relativistic}};
  return choose(kind, kinds);
}

struct Terms {
  GanTerm of_real, of_fake;
};

Terms discriminator_terms(Kind kind, double smoothing, double scale) {
  switch (kind) {
    case Kind::hinge:
      return {{GanShape::hinge, -1.0, 1.0, 0.0, scale}, {GanShape::hinge, 1.0, 1.0, 0.0, scale}};
    case Kind::lsgan:
      return {{GanShape::square, 1.0, smoothing - 1.0, 0.0, 1.0}, {GanShape::square, 1.0, 0.0, 0.0, 1.0}};
    case Kind::wgan:
      return {{GanShape::linear, -1.0, 0.0, 0.0, 1.0}, {GanShape::linear, 1.0, 0.0, 0.0, 1.0}};
    default:
      return {{GanShape::softplus, -1.0, 0.0, smoothing, 1.0}, {GanShape::softplus, 1.0, 0.0, 0.0, 1.0}};
  }
}

GanTerm generator_term(Kind kind) {
  switch (kind) {
    case Kind::minimax:
      return {GanShape::softplus, 1.0, 0.0, 0.0, -1.0};
    case Kind::lsgan:
      return {GanShape::square, 1.0, -1.0, 0.0, 1.0};
    case Kind::hinge:
    case Kind::wgan:
      return {GanShape::linear, -1.0, 0.0, 0.0, 1.0};
    default:
      return {GanShape::softplus, -1.0, 0.0, 0.0, 1.0};
  }
}

Operand dense(const Tensor& t, int64_t elem = 1) { return {t.data_ptr(), storage_type(t), 0, 0, elem}; }

// The logits of a loss, and how it is reduced: over each kind by itself, as there may be more of one.
struct Logits {
  Tensor real, fake;
  bool each = false, mean = false;
  Terms terms;
  bool relativistic;

  Logits(const Tensor& real, const Tensor& fake, std::string_view reduction, Terms terms, bool relativistic)
      : real(real), fake(fake), terms(terms), relativistic(relativistic) {
    enum How { by_mean, by_sum, by_none };
    static constexpr std::pair<const char*, How> hows[] = {{"none", by_none}, {"mean", by_mean}, {"sum", by_sum}};
    check_tensors({fake, real});
    const How how = choose(reduction, hows);
    each = how == by_none;
    mean = how == by_mean;
    GK_REQUIRE(!real.defined() || !(each || relativistic) || real.sizes() == fake.sizes());
  }

  at::ScalarType type() const { return compute_type({real, fake}); }
  bool empty() const { return reals() == 0 && fake.numel() == 0; }
  // A mean over nothing is nan, whatever else there is.
  bool undefined() const { return mean && (fake.numel() == 0 || (real.defined() && reals() == 0)); }

  // Holds contiguous copies, where some are needed, for as long as the launch.
  void fill(GanLoss& a) {
    a.wide = type() == at::kDouble;
    a.relativistic = relativistic;
    a.reals = reals();
    a.fakes = fake.numel();
    a.extent = {1, 1, std::max(a.reals, a.fakes)};
    if (real.defined()) a.real = dense(real = real.contiguous());
    a.fake = dense(fake = fake.contiguous());
    a.of_real = terms.of_real;
    a.of_fake = terms.of_fake;
    if (!mean) return;
    a.of_real.weight /= static_cast<double>(a.reals);
    a.of_fake.weight /= static_cast<double>(a.fakes);
  }

 private:
  int64_t reals() const { return real.defined() ? real.numel() : 0; }
};

Logits discriminator(Arguments& a) {
  const Tensor real = a.tensor(), fake = a.tensor();
  const Kind kind = parse_kind(a.text());
  const double label_smoothing = a.number(), hinge_scale = a.number();
  const bool has_labels = kind == Kind::minimax || kind == Kind::non_saturating || kind == Kind::lsgan;
  GK_REQUIRE(label_smoothing >= 0 && label_smoothing <= 1 && (has_labels || label_smoothing == 0));
  GK_REQUIRE(kind == Kind::hinge || hinge_scale == 1);
  return {real, fake, a.text(), discriminator_terms(kind, label_smoothing, hinge_scale), kind == Kind::relativistic};
}

Logits generator(Arguments& a) {
  const Tensor real = a.tensor(), fake = a.tensor();
  const Kind kind = parse_kind(a.text());
  const bool relativistic = kind == Kind::relativistic;
  GK_REQUIRE(!relativistic || real.defined());
  return {relativistic ? real : Tensor(), fake, a.text(), {{}, generator_term(kind)}, relativistic};
}

template <Logits (*read)(Arguments&)>
Tensors loss_forward(Arguments& arguments) {
  Logits logits = read(arguments);
  const auto options = logits.fake.options().dtype(logits.type());
  if (!logits.each && logits.undefined()) return {at::full({}, std::numeric_limits<double>::quiet_NaN(), options)};
  if (!logits.each && logits.empty()) return {at::full({}, 0.0, options)};
  const Tensor result = at::empty(logits.each ? logits.fake.sizes() : at::IntArrayRef(), options);
  GanLossForward a;
  logits.fill(a);
  a.loss.reduction = logits.each ? Reduction::none : Reduction::total;
  a.loss.out = dense(result);
  Device(result.device()).run(&Kernels::gan_loss_forward, a);
  return {result};
}

// A gradient as the kernels make it, dense, and as it lies in the argument's strides.
struct Gradient {
  Tensor result, made;

  Gradient(const Tensor& argument, int64_t mask, int bit, Operand& operand) : result(wanted(argument, mask, bit)) {
    if (!result.defined()) return;
    made = result.is_contiguous() ? result : at::empty(result.sizes(), result.options());
    operand = dense(made);
  }
  Tensor finish() const {
    if (!made.is_same(result)) result.copy_(made);
    return result;
  }
};

template <Logits (*read)(Arguments&)>
Tensors loss_backward(Arguments& arguments) {
  const Tensor grad = arguments.tensor();
  GK_REQUIRE(grad.defined());
  Logits logits = read(arguments);
  const int64_t mask = arguments.integer();
  GanLossBackward a;
  const Gradient d_real(logits.real, mask, 0, a.d_real), d_fake(logits.fake, mask, 1, a.d_fake);
  logits.fill(a);
  const Tensor given = grad.contiguous();
  a.grad = {dense(given, logits.each ? 1 : 0)};
  Device(given.device()).run(&Kernels::gan_loss_backward, a);
  return {d_real.finish(), d_fake.finish()};
}

GENKERN_OPS(m) {
  implement<loss_forward<discriminator>, loss_backward<discriminator>>(m, "gan_discriminator_loss");
  implement<loss_forward<generator>, loss_backward<generator>>(m, "gan_generator_loss");
}

}  // namespace genkern::gan_loss_op
