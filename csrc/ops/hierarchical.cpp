// The residual head of a hierarchical VAE: checks, allocation, launch.
#include "ops/arguments.h"
#include "ops/device.h"

namespace genkern::hierarchical_op {

struct ResidualHead {
  Tensor prior_loc, prior_scale, delta_loc, delta_scale;
  NoiseOrigin noise;
  double temperature;
  int64_t element_offset;
  ScaleOptions scale_options;
  DivergenceOptions divergence;
  at::DimVector shape;
  Reduce reduce;

  explicit ResidualHead(Arguments& a)
      : prior_loc(a.tensor()),
        prior_scale(a.tensor()),
        delta_loc(a.tensor()),
        delta_scale(a.tensor()),
        noise(a.noise()),
        temperature(a.number()),
        element_offset(a.integer()),
        scale_options(a.scale()),
        divergence(a.divergence()),
        shape(check()),
        reduce(a.loss().over(shape)) {}

  at::ScalarType type() const { return compute_type({prior_loc, prior_scale, delta_loc, delta_scale}); }
  at::ScalarType sample_type() const {
    return c10::promoteTypes(c10::promoteTypes(prior_loc.scalar_type(), prior_scale.scalar_type()),
                             c10::promoteTypes(delta_loc.scalar_type(), delta_scale.scalar_type()));
  }

  // The part of the launch that forward and backward share. With noise from a key the order of elements is the noise's.
  Layout fill(GaussianResidual& a) const {
    Layout layout(shape, reduce.event_ndim, noise.eps.defined());
    a.wide = type() == at::kDouble;
    a.scale_options = scale_options;
    a.temperature = temperature;
    a.free_nats = divergence.free_bits * reduce.nats_per_unit;
    a.noise.element_offset = static_cast<uint64_t>(element_offset);
    if (noise.key.defined()) a.noise.key = key_source(noise.key);
    layout.in(a.prior_loc, prior_loc);
    layout.in(a.prior_scale, prior_scale);
    layout.in(a.delta_loc, delta_loc);
    layout.in(a.delta_scale, delta_scale);
    layout.in(a.noise.eps, readable(noise.eps, type()));
    return layout;
  }

 private:
  at::DimVector check() const {
    const at::DimVector all = broadcast({prior_loc, prior_scale, delta_loc, delta_scale});
    check_noise(noise, element_offset, prior_loc, all);
    return all;
  }
};

Tensors residual_forward(Arguments& arguments) {
  const ResidualHead head(arguments);
  GaussianResidualForward a;
  Layout layout = head.fill(a);
  Tensors results{empty_of(head.prior_loc, head.shape, head.sample_type())};
  const Tensor z = results[0];
  layout.out(a.z, z);
  for (Loss* loss : {&a.kl, &a.log_q, &a.log_p})
    results.push_back(make_loss(*loss, head.reduce, layout, head.prior_loc, head.shape, head.type()));
  if (head.noise.drawn) results.push_back(draw_key(a.noise.key, head.noise.generator, z));
  launch(layout, head.prior_loc, &Kernels::gaussian_residual_forward, a);
  return results;
}

Tensors residual_backward(Arguments& arguments) {
  const Tensor grad_z = arguments.tensor();
  const Tensor grads[] = {arguments.tensor(), arguments.tensor(), arguments.tensor()};
  const ResidualHead head(arguments);
  const int64_t mask = arguments.integer();
  Tensors d;
  for (const Tensor* t : {&head.prior_loc, &head.prior_scale, &head.delta_loc, &head.delta_scale, &head.noise.eps})
    d.push_back(wanted(*t, mask, static_cast<int>(d.size())));
  GaussianResidualBackward a;
  Layout layout = head.fill(a);
  layout.in(a.grad_z, grad_z);
  Operand* const of_losses[] = {&a.grad_kl, &a.grad_log_q, &a.grad_log_p};
  for (int k = 0; k < 3; ++k)
    if (grads[k].defined()) layout.in(*of_losses[k], expand_grad(grads[k], head.reduce, head.shape));
  a.factor = head.reduce.factor;
  a.grad_scale_q = head.divergence.grad_scale_q;
  a.grad_scale_p = head.divergence.grad_scale_p;
  layout.gradient(a.d_prior_loc, d[0]);
  layout.gradient(a.d_prior_scale, d[1]);
  layout.gradient(a.d_delta_loc, d[2]);
  layout.gradient(a.d_delta_scale, d[3]);
  const EpsGradient d_eps(d[4], head.type());
  layout.gradient(a.d_eps, d_eps.made());
  launch(layout, head.prior_loc, &Kernels::gaussian_residual_backward, a);
  d_eps.finish();
  return d;
}

GENKERN_OPS(m) { implement<residual_forward, residual_backward>(m, "gaussian_residual_rsample_kl", true); }

}  // namespace genkern::hierarchical_op
