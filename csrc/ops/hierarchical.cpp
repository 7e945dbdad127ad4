// The residual head of a hierarchical VAE: checks, allocation, launch.
#include <torch/library.h>

#include "ops/device.h"
#include "ops/options.h"

namespace genkern {
namespace {

struct ResidualHead {
  Tensor prior_loc, prior_scale, delta_loc, delta_scale;
  NoiseOrigin noise;
  double temperature;
  int64_t element_offset;
  ScaleOptions scale_options;
  double free_bits, grad_scale_q, grad_scale_p;
  ReduceOptions reduce_options;
  at::DimVector shape = check();
  Reduce reduce{reduce_options.reduction, reduce_options.units, reduce_options.event_ndim, shape};

  at::ScalarType type() const { return compute_type({&prior_loc, &prior_scale, &delta_loc, &delta_scale}); }
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
    a.free_nats = free_bits * reduce.nats_per_unit;
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
    check_tensor("prior_loc", prior_loc, prior_loc, "prior_loc");
    check_tensor("prior_scale", prior_scale, prior_loc, "prior_loc");
    check_tensor("delta_loc", delta_loc, prior_loc, "prior_loc");
    check_tensor("delta_scale", delta_scale, prior_loc, "prior_loc");
    const at::DimVector all = broadcast({{"prior_loc", &prior_loc},
                                         {"prior_scale", &prior_scale},
                                         {"delta_loc", &delta_loc},
                                         {"delta_scale", &delta_scale}});
    check_noise(noise, element_offset, prior_loc, "prior_loc", all);
    TORCH_CHECK_VALUE(free_bits >= 0, "free_bits: expected a number >= 0, got ", free_bits);
    return all;
  }
};

struct Outputs {
  Tensor z, kl, log_q, log_p, key;
};

Outputs forward(const ResidualHead& head) {
  GaussianResidualForward a;
  Layout layout = head.fill(a);
  Outputs out;
  out.z = empty_of(head.prior_loc, head.shape, head.sample_type());
  layout.out(a.z, out.z);
  if (head.noise.drawn) out.key = draw_key(a.noise.key, head.noise.generator, out.z);
  for (const auto& [tensor, loss] : {std::pair(&out.kl, &a.kl), {&out.log_q, &a.log_q}, {&out.log_p, &a.log_p}})
    *tensor = make_loss(*loss, head.reduce, layout, head.prior_loc, head.shape, head.type());
  a.extent = layout.resolve();
  Device(head.prior_loc.device()).run(&Kernels::gaussian_residual_forward, a, a.extent, a.kl.reduction, 3);
  layout.finish();
  return out;
}

#define RESIDUAL_OPTIONS double temperature, int64_t element_offset, SCALE_OPTIONS, KL_OPTIONS, REDUCE_OPTIONS
#define RESIDUAL_VALUES temperature, element_offset, SCALE_VALUES, KL_VALUES, REDUCE_VALUES

ResidualHead residual_of(const Tensor& prior_loc, const Tensor& prior_scale, const Tensor& delta_loc,
                         const Tensor& delta_scale, const NoiseOrigin& noise, RESIDUAL_OPTIONS) {
  return {prior_loc,      prior_scale, delta_loc, delta_scale,  noise,        temperature,
          element_offset, SCALE,       free_bits, grad_scale_q, grad_scale_p, REDUCE};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> gaussian_residual_rsample_kl(
    const Tensor& prior_loc, const Tensor& prior_scale, const Tensor& delta_loc, const Tensor& delta_scale,
    const OptionalTensor& key, const OptionalTensor& eps, RESIDUAL_OPTIONS) {
  const Outputs out = forward(residual_of(prior_loc, prior_scale, delta_loc, delta_scale, {key, eps}, RESIDUAL_VALUES));
  return {out.z, out.kl, out.log_q, out.log_p};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> gaussian_residual_rsample_kl_draw(
    const Tensor& prior_loc, const Tensor& prior_scale, const Tensor& delta_loc, const Tensor& delta_scale,
    const Generator& generator, RESIDUAL_OPTIONS) {
  const Outputs out =
      forward(residual_of(prior_loc, prior_scale, delta_loc, delta_scale, NoiseOrigin(generator), RESIDUAL_VALUES));
  return {out.z, out.kl, out.log_q, out.log_p, out.key};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> gaussian_residual_rsample_kl_backward(
    const OptionalTensor& grad_z, const OptionalTensor& grad_kl, const OptionalTensor& grad_log_q,
    const OptionalTensor& grad_log_p, const Tensor& prior_loc, const Tensor& prior_scale, const Tensor& delta_loc,
    const Tensor& delta_scale, const OptionalTensor& key, const OptionalTensor& eps, RESIDUAL_OPTIONS, int64_t mask) {
  const ResidualHead head = residual_of(prior_loc, prior_scale, delta_loc, delta_scale, {key, eps}, RESIDUAL_VALUES);
  const std::tuple d{wanted(prior_loc, mask, 0), wanted(prior_scale, mask, 1), wanted(delta_loc, mask, 2),
                     wanted(delta_scale, mask, 3), wanted(or_undefined(eps), mask, 4)};
  GaussianResidualBackward a;
  Layout layout = head.fill(a);
  layout.in(a.grad_z, or_undefined(grad_z));
  for (const auto& [grad, operand] :
       {std::pair(&grad_kl, &a.grad_kl), {&grad_log_q, &a.grad_log_q}, {&grad_log_p, &a.grad_log_p}})
    if (*grad && (*grad)->defined()) layout.in(*operand, expand_grad(**grad, head.reduce, head.shape));
  a.factor = head.reduce.factor;
  a.grad_scale_q = grad_scale_q;
  a.grad_scale_p = grad_scale_p;
  layout.gradient(a.d_prior_loc, std::get<0>(d));
  layout.gradient(a.d_prior_scale, std::get<1>(d));
  layout.gradient(a.d_delta_loc, std::get<2>(d));
  layout.gradient(a.d_delta_scale, std::get<3>(d));
  const EpsGradient d_eps(std::get<4>(d), head.type());
  layout.gradient(a.d_eps, d_eps.made());
  a.extent = layout.resolve();
  Device(head.prior_loc.device()).run(&Kernels::gaussian_residual_backward, a);
  layout.finish();
  d_eps.finish();
  return d;
}

void register_kernels(torch::Library& m) {
  m.impl("gaussian_residual_rsample_kl", TORCH_FN(gaussian_residual_rsample_kl));
  m.impl("gaussian_residual_rsample_kl.draw", TORCH_FN(gaussian_residual_rsample_kl_draw));
  m.impl("gaussian_residual_rsample_kl_backward", TORCH_FN(gaussian_residual_rsample_kl_backward));
}

}  // namespace

GENKERN_FOR_EACH_DEVICE(register_kernels)

}  // namespace genkern
