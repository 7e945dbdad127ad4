// Points between real and fake, and penalties of the discriminator's gradient there: checks, allocation, launch.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/device.h"
#include "ops/options.h"

namespace genkern {
namespace {

struct Interpolation {
  Tensor real, fake;
  NoiseOrigin noise;
  int64_t element_offset;

  Interpolation(const Tensor& real, const Tensor& fake, const NoiseOrigin& noise, int64_t element_offset)
      : real(real), fake(fake), noise(noise), element_offset(element_offset) {
    check_tensor("real", real, real, "real");
    check_tensor("fake", fake, real, "real");
    TORCH_CHECK_VALUE(fake.sizes() == real.sizes(), "fake: expected shape ", shape_text(real.sizes()), " as real, got ",
                      shape_text(fake.sizes()));
    check_noise(noise, element_offset, real, "real", real.sizes().slice(0, rows_ndim()));
  }

  // With `values` the two ends are among the operands.
  Layout fill(Interpolate& a, bool values) const {
    Layout layout(real.sizes(), real.dim() - rows_ndim(), true);
    a.wide = type() == at::kDouble;
    a.noise.element_offset = static_cast<uint64_t>(element_offset);
    if (noise.key.defined()) a.noise.key = key_source(noise.key);
    if (values) {
      layout.in(a.real, real);
      layout.in(a.fake, fake);
    }
    if (noise.eps.defined()) layout.in(a.noise.eps, trailing_ones(noise.eps, real.dim()));
    return layout;
  }
  at::ScalarType type() const { return compute_type({&real, &fake, &noise.eps}); }

 private:
  int64_t rows_ndim() const { return real.dim() > 0 ? 1 : 0; }
};

struct Points {
  Tensor out, key;
};

Points forward(const Interpolation& interpolation) {
  const auto& [real, fake, noise, element_offset] = interpolation;
  InterpolateForward a;
  Layout layout = interpolation.fill(a, true);
  Points points;
  points.out = empty_of(real, real.sizes(), c10::promoteTypes(real.scalar_type(), fake.scalar_type()));
  layout.out(a.out, points.out);
  if (noise.drawn) points.key = draw_key(a.noise.key, noise.generator, points.out);
  a.extent = layout.resolve();
  Device(real.device()).run(&Kernels::interpolate_forward, a);
  layout.finish();
  return points;
}

Tensor interpolate(const Tensor& real, const Tensor& fake, const OptionalTensor& key, const OptionalTensor& eps,
                   int64_t element_offset) {
  return forward({real, fake, {key, eps}, element_offset}).out;
}

std::tuple<Tensor, Tensor> interpolate_draw(const Tensor& real, const Tensor& fake, const Generator& generator,
                                            int64_t element_offset) {
  const Points points = forward({real, fake, NoiseOrigin(generator), element_offset});
  return {points.out, points.key};
}

std::tuple<Tensor, Tensor, Tensor> interpolate_backward(const OptionalTensor& grad, const Tensor& real,
                                                        const Tensor& fake, const OptionalTensor& key,
                                                        const OptionalTensor& eps, int64_t element_offset,
                                                        int64_t mask) {
  TORCH_CHECK_TYPE(or_undefined(grad).defined(), "grad_0: expected a Tensor, got None");
  const Interpolation interpolation(real, fake, {key, eps}, element_offset);
  const Tensor d_real = wanted(real, mask, 0), d_fake = wanted(fake, mask, 1),
               d_eps = wanted(interpolation.noise.eps, mask, 2);
  InterpolateBackward a;
  Layout layout = interpolation.fill(a, d_eps.defined());
  layout.in(a.grad, *grad);
  layout.gradient(a.d_real, d_real);
  layout.gradient(a.d_fake, d_fake);
  Tensor by_row;
  if (d_eps.defined()) {
    by_row = at::empty(d_eps.sizes(), d_eps.options().dtype(interpolation.type()));
    if (real.numel() == 0) by_row.zero_();
    a.d_eps.reduction = Reduction::event;
    a.d_eps.out.data = by_row.data_ptr();
  }
  a.extent = layout.resolve();
  Device(real.device()).run(&Kernels::interpolate_backward, a, a.extent, a.d_eps.reduction, by_row.defined());
  layout.finish();
  if (by_row.defined()) d_eps.copy_(by_row);
  return {d_real, d_fake, d_eps};
}

// A penalty has one value a sample, the first dimension: a reduction over its elements.
Reduce by_sample(const Tensor& grad, std::string_view reduction) {
  static constexpr std::pair<const char*, std::string_view> reductions[] = {
      {"none", "event"}, {"mean", "batchmean"}, {"sum", "sum"}};
  check_tensor("grad", grad, grad, "grad");
  return {choose("reduction", reduction, reductions), "nats", std::nullopt, grad.sizes()};
}

// Sums of squares, reduced into what is returned.
Tensor squared_norm(const Tensor& grad, const Reduce& reduce) {
  SquaredNorm a;
  Layout layout(grad.sizes(), reduce.event_ndim, true);
  const auto type = compute_type({&grad});
  a.wide = type == at::kDouble;
  layout.in(a.x, grad);
  const Tensor result = make_loss(a.squares, reduce, layout, grad, grad.sizes(), type);
  a.extent = layout.resolve();
  Device(grad.device()).run(&Kernels::squared_norm, a, a.extent, a.squares.reduction, 1);
  layout.finish();
  return result;
}

Tensor backward(const Tensor& penalised, const Reduce& reduce, const OptionalTensor& grad, NormBackward& a,
                const Tensor& norms, const OptionalTensor& grad_norms, int64_t mask) {
  const Tensor d_x = wanted(penalised, mask, 0);
  Layout layout(penalised.sizes(), reduce.event_ndim, true);
  a.wide = compute_type({&penalised}) == at::kDouble;
  a.factor = 2.0 * reduce.factor;
  layout.in(a.x, penalised);
  if (or_undefined(grad).defined()) layout.in(a.grad, expand_grad(*grad, reduce, penalised.sizes()));
  if (norms.defined()) layout.in(a.norms, trailing_ones(norms, penalised.dim()));
  if (or_undefined(grad_norms).defined()) layout.in(a.grad_norms, trailing_ones(*grad_norms, penalised.dim()));
  layout.gradient(a.d_x, d_x);
  a.extent = layout.resolve();
  Device(penalised.device()).run(&Kernels::norm_backward, a);
  layout.finish();
  return d_x;
}

Tensor zero_centered_penalty(const Tensor& grad, std::string_view reduction) {
  return squared_norm(grad, by_sample(grad, reduction));
}

Tensor zero_centered_penalty_backward(const OptionalTensor& grad_0, const Tensor& grad, std::string_view reduction,
                                      int64_t mask) {
  NormBackward a;
  return backward(grad, by_sample(grad, reduction), grad_0, a, {}, {}, mask);
}

// The norms, which backward wants, take the place of their squares.
std::tuple<Tensor, Tensor> gradient_norm_penalty(const Tensor& grad, double center, std::string_view reduction) {
  const Reduce reduce = by_sample(grad, reduction);
  const Tensor norms = squared_norm(grad, by_sample(grad, "none"));
  CenteredNorm a;
  a.extent = {1, 1, norms.numel()};
  a.wide = norms.scalar_type() == at::kDouble;
  a.center = center;
  a.squares = a.norms = {norms.data_ptr(), storage_type(norms), 0, 0, 1};
  const bool each = reduce.kind == Reduction::event;
  const Tensor penalty = at::empty(each ? norms.sizes() : at::IntArrayRef(), norms.options());
  a.penalty = {
      each ? Reduction::none : Reduction::total, reduce.factor, {penalty.data_ptr(), storage_type(penalty), 0, 0, 1}};
  if (norms.numel() == 0) penalty.fill_(0.0 * reduce.factor);
  Device(grad.device()).run(&Kernels::centered_norm, a, a.extent, a.penalty.reduction, 1);
  return {penalty, norms};
}

Tensor gradient_norm_penalty_backward(const OptionalTensor& grad_0, const OptionalTensor& grad_1, const Tensor& grad,
                                      double center, std::string_view reduction, const Tensor& /*penalty*/,
                                      const Tensor& norms, int64_t mask) {
  NormBackward a;
  a.center = center;
  return backward(grad, by_sample(grad, reduction), grad_0, a, norms, grad_1, mask);
}

void register_kernels(torch::Library& m) {
  m.impl("interpolate", TORCH_FN(interpolate));
  m.impl("interpolate.draw", TORCH_FN(interpolate_draw));
  m.impl("interpolate_backward", TORCH_FN(interpolate_backward));
  m.impl("zero_centered_penalty", TORCH_FN(zero_centered_penalty));
  m.impl("zero_centered_penalty_backward", TORCH_FN(zero_centered_penalty_backward));
  m.impl("gradient_norm_penalty", TORCH_FN(gradient_norm_penalty));
  m.impl("gradient_norm_penalty_backward", TORCH_FN(gradient_norm_penalty_backward));
}

}  // namespace

GENKERN_FOR_EACH_DEVICE(register_kernels)

}  // namespace genkern
