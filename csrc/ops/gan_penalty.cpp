// Points between real and fake, and penalties of the discriminator's gradient there: checks, allocation, launch.
#include <ATen/ops/empty.h>

#include "ops/arguments.h"
#include "ops/device.h"

namespace genkern::gan_penalty_op {

struct Interpolation {
  Tensor real, fake;
  NoiseOrigin noise;
  int64_t element_offset;

  explicit Interpolation(Arguments& a)
      : real(a.tensor()), fake(a.tensor()), noise(a.noise()), element_offset(a.integer()) {
    check_tensors({real, fake});
    GK_REQUIRE(fake.sizes() == real.sizes());
    check_noise(noise, element_offset, real, real.sizes().slice(0, rows_ndim()));
  }

  // `values`: the two ends are among the operands.
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
  at::ScalarType type() const { return compute_type({real, fake, noise.eps}); }

 private:
  int64_t rows_ndim() const { return real.dim() > 0 ? 1 : 0; }
};

Tensors interpolate(Arguments& arguments) {
  const Interpolation interpolation(arguments);
  const Tensor &real = interpolation.real, &fake = interpolation.fake;
  InterpolateForward a;
  Layout layout = interpolation.fill(a, true);
  const Tensor out = empty_of(real, real.sizes(), c10::promoteTypes(real.scalar_type(), fake.scalar_type()));
  layout.out(a.out, out);
  Tensors results{out};
  if (interpolation.noise.drawn) results.push_back(draw_key(a.noise.key, interpolation.noise.generator, out));
  launch(layout, real, &Kernels::interpolate_forward, a);
  return results;
}

Tensors interpolate_backward(Arguments& arguments) {
  const Tensor grad = arguments.tensor();
  GK_REQUIRE(grad.defined());
  const Interpolation interpolation(arguments);
  const int64_t mask = arguments.integer();
  const Tensor d_real = wanted(interpolation.real, mask, 0), d_fake = wanted(interpolation.fake, mask, 1),
               d_eps = wanted(interpolation.noise.eps, mask, 2);
  InterpolateBackward a;
  Layout layout = interpolation.fill(a, d_eps.defined());
  layout.in(a.grad, grad);
  layout.gradient(a.d_real, d_real);
  layout.gradient(a.d_fake, d_fake);
  Tensor by_row;
  if (d_eps.defined()) {
    by_row = at::empty(d_eps.sizes(), d_eps.options().dtype(interpolation.type()));
    if (interpolation.real.numel() == 0) by_row.zero_();
    a.d_eps.reduction = Reduction::event;
    a.d_eps.out.data = by_row.data_ptr();
  }
  launch(layout, interpolation.real, &Kernels::interpolate_backward, a);
  if (by_row.defined()) d_eps.copy_(by_row);
  return {d_real, d_fake, d_eps};
}

// A penalty has one value a sample, the first dimension: a reduction over its elements.
Reduce by_sample(const Tensor& grad, std::string_view reduction) {
  static constexpr std::pair<const char*, std::string_view> reductions[] = {
      {"none", "event"}, {"mean", "batchmean"}, {"sum", "sum"}};
  check_tensors({grad});
  return {choose(reduction, reductions), "nats", std::nullopt, grad.sizes()};
}

// Sums of squares, reduced into what is returned.
Tensor squared_norm(const Tensor& grad, const Reduce& reduce) {
  SquaredNorm a;
  Layout layout(grad.sizes(), reduce.event_ndim, true);
  const auto type = compute_type({grad});
  a.wide = type == at::kDouble;
  layout.in(a.x, grad);
  const Tensor result = make_loss(a.squares, reduce, layout, grad, grad.sizes(), type);
  launch(layout, grad, &Kernels::squared_norm, a);
  return result;
}

Tensors backward(const Tensor& penalised, const Reduce& reduce, const Tensor& grad, NormBackward& a,
                 const Tensor& norms, const Tensor& grad_norms, int64_t mask) {
  const Tensor d_x = wanted(penalised, mask, 0);
  Layout layout(penalised.sizes(), reduce.event_ndim, true);
  a.wide = compute_type({penalised}) == at::kDouble;
  a.factor = 2.0 * reduce.factor;
  layout.in(a.x, penalised);
  if (grad.defined()) layout.in(a.grad, expand_grad(grad, reduce, penalised.sizes()));
  if (norms.defined()) layout.in(a.norms, trailing_ones(norms, penalised.dim()));
  if (grad_norms.defined()) layout.in(a.grad_norms, trailing_ones(grad_norms, penalised.dim()));
  layout.gradient(a.d_x, d_x);
  launch(layout, penalised, &Kernels::norm_backward, a);
  return {d_x};
}

Tensors zero_centered_penalty(Arguments& arguments) {
  const Tensor grad = arguments.tensor();
  return {squared_norm(grad, by_sample(grad, arguments.text()))};
}

Tensors zero_centered_penalty_backward(Arguments& arguments) {
  const Tensor grad_0 = arguments.tensor(), grad = arguments.tensor();
  const Reduce reduce = by_sample(grad, arguments.text());
  NormBackward a;
  return backward(grad, reduce, grad_0, a, {}, {}, arguments.integer());
}

// The norms, which backward wants, take the place of their squares.
Tensors gradient_norm_penalty(Arguments& arguments) {
  const Tensor grad = arguments.tensor();
  const double center = arguments.number();
  const Reduce reduce = by_sample(grad, arguments.text());
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
  Device(grad.device()).run(&Kernels::centered_norm, a);
  return {penalty, norms};
}

Tensors gradient_norm_penalty_backward(Arguments& arguments) {
  const Tensor grad_0 = arguments.tensor(), grad_1 = arguments.tensor(), grad = arguments.tensor();
  NormBackward a;
  a.center = arguments.number();
  const Reduce reduce = by_sample(grad, arguments.text());
  arguments.tensor();  // the penalty
  const Tensor norms = arguments.tensor();
  return backward(grad, reduce, grad_0, a, norms, grad_1, arguments.integer());
}

GENKERN_OPS(m) {
  implement<interpolate, interpolate_backward>(m, "interpolate", true);
  implement<zero_centered_penalty, zero_centered_penalty_backward>(m, "zero_centered_penalty");
  implement<gradient_norm_penalty, gradient_norm_penalty_backward>(m, "gradient_norm_penalty");
}

}  // namespace genkern::gan_penalty_op
