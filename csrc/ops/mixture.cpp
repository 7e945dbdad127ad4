// Densities of mixtures: checks, allocation, launch.
#include <ATen/ExpandUtils.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "ops/arguments.h"
#include "ops/device.h"

namespace genkern::mixture_op {

// z [B, D], loc [C, D], log_scale that broadcasts to it, log_weights [C] or [B, C]; as the kernels take them.
struct Mixture {
  Tensor z, loc, log_scale, log_weights;
  bool marginals;
  at::ScalarType type;

  Mixture(const Tensor& z, const Tensor& loc, const Tensor& log_scale, const Tensor& log_weights, bool marginals)
      : z(z), loc(loc), log_scale(log_scale), log_weights(log_weights), marginals(marginals) {
    check();
    type = compute_type({z, loc, log_scale, log_weights});
    for (Tensor* t : {&this->z, &this->loc, &this->log_scale}) *t = t->to(type).contiguous();
    if (!log_weights.defined()) return;
    this->log_weights = log_weights.to(type);
    if (!has_rows()) this->log_weights = this->log_weights.contiguous();
  }

  void fill(GaussianMixture& a) const {
    a.wide = type == at::kDouble;
    a.points = z.size(0);
    a.components = loc.size(0);
    a.dims = z.size(1);
    a.z = z.const_data_ptr();
    a.loc = loc.const_data_ptr();
    a.log_scale = log_scale.const_data_ptr();
    a.log_scale_row = log_scale.size(0) == 1 ? 0 : log_scale.size(1);
    a.log_scale_elem = log_scale.size(1) == 1 ? 0 : 1;
    if (log_weights.defined()) {
      a.log_weights = log_weights.const_data_ptr();
      a.log_weights_row = log_weights.dim() == 2 ? log_weights.stride(0) : 0;
    }
    a.marginals = marginals;
  }
  Tensor make(at::IntArrayRef shape) const { return at::empty(shape, z.options().dtype(type)); }

 private:
  // Rows of weights are read in place, also where they overlap; equal ones would pass for weights that all points
  // share.
  bool has_rows() const { return log_weights.dim() == 2 && log_weights.stride(1) == 1 && log_weights.stride(0) != 0; }

  void check() const {
    check_tensors({z, loc, log_scale, log_weights});
    GK_REQUIRE(z.dim() == 2 && loc.dim() == 2 && loc.size(0) > 0 && loc.size(1) == z.size(1));
    GK_REQUIRE(log_scale.dim() == 2 && at::is_expandable_to(log_scale.sizes(), loc.sizes()));
    GK_REQUIRE(!log_weights.defined() || log_weights.sizes() == at::IntArrayRef({loc.size(0)}) ||
               log_weights.sizes() == at::IntArrayRef({z.size(0), loc.size(0)}));
  }
};

Tensors gaussian_mixture(Arguments& arguments) {
  const Tensor z = arguments.tensor(), loc = arguments.tensor(), log_scale = arguments.tensor(),
               log_weights = arguments.tensor();
  const bool marginals = arguments.boolean();
  const Mixture mixture(z, loc, log_scale, log_weights, marginals);
  GaussianMixtureForward a;
  mixture.fill(a);
  const at::DimVector by_point{a.points}, by_dimension{a.points, marginals ? a.dims : 0};
  const Tensor joint = mixture.make(by_point), marginal = mixture.make(by_dimension);
  const Tensor joint_total = mixture.make(by_point), marginal_total = mixture.make(by_dimension);
  a.joint = joint.mutable_data_ptr();
  a.marginal = marginal.mutable_data_ptr();
  a.joint_total = joint_total.mutable_data_ptr();
  a.marginal_total = marginal_total.mutable_data_ptr();
  if (a.points) launch(z, a, &Kernels::gaussian_mixture_forward_workspace, &Kernels::gaussian_mixture_forward);
  return {joint, marginal, joint_total, marginal_total};
}

// A gradient as the kernels make it, in full, and how it comes back to the argument's shape and type.
struct Gradient {
  Tensor full, argument;

  Gradient(const Mixture& m, const Tensor& argument, at::IntArrayRef shape, int64_t mask, int bit, void*& data) {
    if (!(mask >> bit & 1) || !argument.defined()) return;
    this->argument = argument;
    full = m.make(shape);
    data = full.mutable_data_ptr();
  }
  Tensor result(bool empty) const {
    if (!full.defined()) return {};
    if (empty) full.zero_();
    Tensor found = at::empty_like(argument);
    sum_into(found, full);
    return found;
  }
};

Tensors gaussian_mixture_backward(Arguments& arguments) {
  const Tensor grad_joint = arguments.tensor(), grad_marginal = arguments.tensor();
  arguments.tensor(), arguments.tensor();  // the totals have no gradient
  const Tensor z = arguments.tensor(), loc = arguments.tensor(), log_scale = arguments.tensor(),
               weights = arguments.tensor();
  const bool marginals = arguments.boolean();
  const Tensor joint = arguments.tensor(), marginal = arguments.tensor(), joint_total = arguments.tensor(),
               marginal_total = arguments.tensor();
  const int64_t mask = arguments.integer();
  const Mixture mixture(z, loc, log_scale, weights, marginals);
  GaussianMixtureBackward a;
  mixture.fill(a);
  const auto over = [](const Tensor& grad, const Tensor& total) {
    return grad.defined() ? at::div(grad, total).contiguous() : Tensor();
  };
  const Tensor g = over(grad_joint, joint_total), gm = marginals ? over(grad_marginal, marginal_total) : Tensor();
  a.joint = joint.const_data_ptr();
  a.marginal = marginal.const_data_ptr();
  if (g.defined()) a.grad_joint = g.const_data_ptr();
  if (gm.defined()) a.grad_marginal = gm.const_data_ptr();
  const Gradient d_z(mixture, z, z.sizes(), mask, 0, a.d_z), d_loc(mixture, loc, loc.sizes(), mask, 1, a.d_loc);
  const Gradient d_log_scale(mixture, log_scale, loc.sizes(), mask, 2, a.d_log_scale);
  const Gradient d_weights(mixture, weights, weights.defined() ? weights.sizes() : at::IntArrayRef(), mask, 3,
                           a.d_log_weights);
  const bool empty = a.points == 0 || (!g.defined() && !gm.defined());
  if (!empty) launch(z, a, &Kernels::gaussian_mixture_backward_workspace, &Kernels::gaussian_mixture_backward);
  return {d_z.result(empty), d_loc.result(empty), d_log_scale.result(empty), d_weights.result(empty)};
}

GENKERN_OPS(m) { implement<gaussian_mixture, gaussian_mixture_backward>(m, "gaussian_mixture"); }

}  // namespace genkern::mixture_op
