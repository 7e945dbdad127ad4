// The Gaussian family: checks, allocation, launch.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "cpu/dispatch.h"
#include "ops/common.h"
#include "ops/random.h"

namespace genkern {
namespace {

// The options of the schemas' fragments in genkern/functional/_gaussian_ops.py, in their order.
#define SAMPLE_OPTIONS at::IntArrayRef sample_shape, double temperature, int64_t element_offset
#define SCALE_OPTIONS                                                                                                \
  std::string_view scale_param, double scale_offset, std::optional<double> clamp_lo, std::optional<double> clamp_hi, \
      std::string_view clamp_mode
#define KL_OPTIONS double free_bits, double grad_scale_q, double grad_scale_p
#define REDUCE_OPTIONS std::string_view reduction, std::string_view units, std::optional<int64_t> event_ndim
#define SCALE parse_scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
#define REDUCE \
  ReduceOptions { reduction, units, event_ndim }

struct SampleOptions {
  Tensor key, eps;
  at::IntArrayRef shape;
  double temperature;
  int64_t element_offset;
};

struct ReduceOptions {
  std::string_view reduction, units;
  std::optional<int64_t> event_ndim;
};

struct DivergenceOptions {
  double free_bits, grad_scale_q, grad_scale_p;
  ReduceOptions reduce;
};

// Everything that gaussian_rsample, gaussian_kl and gaussian_rsample_kl have in common: one of them is a head
// without a divergence, one without a sample.
struct Head {
  Tensor loc, scale, prior_loc = {}, prior_scale = {};
  ScaleOptions scale_options = {};
  std::optional<SampleOptions> sampling = {};
  std::optional<DivergenceOptions> divergence = {};
  at::DimVector shape = {};  // of q, and of p where there is a divergence
  std::optional<Reduce> reduce = {};

  void check() {
    check_tensor("loc", loc, loc, "loc");
    check_tensor("scale", scale, loc, "loc");
    check_tensor("prior_loc", prior_loc, loc, "loc", true);
    check_tensor("prior_scale", prior_scale, loc, "loc", true);
    shape = broadcast({{"loc", &loc}, {"scale", &scale}});
    if (sampling) check_sampling();
    if (divergence) check_divergence();
  }

  at::DimVector sample_shape() const {
    at::DimVector full(sampling->shape.begin(), sampling->shape.end());
    full.append(shape.begin(), shape.end());
    return full;
  }
  int64_t samples() const { return c10::multiply_integers(sampling->shape); }
  at::ScalarType sample_type() const { return c10::promoteTypes(loc.scalar_type(), scale.scalar_type()); }
  at::ScalarType type() const { return compute_type({&loc, &scale, &prior_loc, &prior_scale}); }

  // A wider prior must not change the noise: the sample then has a launch of its own.
  bool is_mixed() const { return sampling && divergence && type() != compute_type({&loc, &scale}); }
  Head only_sample() const { return {loc, scale, {}, {}, scale_options, sampling}; }
  Head only_divergence() const { return {loc, scale, prior_loc, prior_scale, scale_options, {}, divergence}; }

  // A tensor of samples as the layout takes it: that of the first sample, and the stride to the next.
  template <class Add>
  void each_sample(const Tensor& tensor, int64_t& stride, const Add& add) const {
    if (!tensor.defined() || samples() == 0) return;
    if (sampling->shape.empty()) return add(tensor);
    const Tensor flat = tensor.contiguous().flatten(0, static_cast<int64_t>(sampling->shape.size()) - 1);
    stride = flat.stride(0);
    add(flat.select(0, 0));
  }

  // The part of the launch that forward and backward share.
  void fill(GaussianHead& a, Layout& layout) const {
    a.wide = type() == at::kDouble;
    a.scale_options = scale_options;
    layout.in(a.loc, loc);
    layout.in(a.scale, scale);
    layout.in(a.prior_loc, prior_loc);
    layout.in(a.prior_scale, prior_scale);
    if (sampling) {
      a.samples = samples();
      a.temperature = sampling->temperature;
      a.noise.element_offset = static_cast<uint64_t>(sampling->element_offset);
      if (sampling->key.defined()) a.noise.key = read_key(sampling->key);
      each_sample(sampling->eps, a.noise.eps_sample, [&](const Tensor& t) { layout.in(a.noise.eps, t); });
    }
    if (divergence) a.free_nats = divergence->free_bits * reduce->nats_per_unit;
  }

  // With noise from a key the order of elements is that of the noise. With several samples it is that of the first
  // one's place in the whole, which a copy in another order would not keep.
  Layout make_layout() const {
    const bool any_order = !sampling || (!sampling->key.defined() && sampling->shape.empty());
    return Layout(shape, reduce ? reduce->event_ndim : std::max<int64_t>(static_cast<int64_t>(shape.size()) - 1, 0),
                  any_order);
  }

 private:
  void check_sampling() const {
    const auto& [key, eps, extra, temperature, element_offset] = *sampling;
    for (const int64_t size : extra) TORCH_CHECK_VALUE(size >= 0, "sample_shape: expected an int >= 0, got ", size);
    TORCH_CHECK_VALUE(element_offset >= 0, "element_offset: expected an int >= 0, got ", element_offset);
    check_tensor("eps", eps, loc, "loc", true);
    TORCH_CHECK_VALUE(key.defined() != eps.defined(), "key, eps: expected exactly one of the two, got ",
                      key.defined() ? "both" : "neither");
    if (key.defined()) check_key(key);
    const at::DimVector expected = sample_shape();
    TORCH_CHECK_VALUE(!eps.defined() || eps.sizes() == at::IntArrayRef(expected), "eps: expected shape ",
                      at::IntArrayRef(expected), ", that of the sample, got ", eps.defined() ? eps.sizes() : expected);
  }

  void check_divergence() {
    const at::DimVector own = shape;
    shape = broadcast({{"loc", &loc}, {"scale", &scale}, {"prior_loc", &prior_loc}, {"prior_scale", &prior_scale}});
    TORCH_CHECK_VALUE(!sampling || shape == own,
                      "prior_loc, prior_scale: expected shapes that broadcast to that of loc and scale ",
                      at::IntArrayRef(own), ", got ", at::IntArrayRef(shape), " with them");
    TORCH_CHECK_VALUE(divergence->free_bits >= 0, "free_bits: expected a number >= 0, got ", divergence->free_bits);
    reduce.emplace(divergence->reduce.reduction, divergence->reduce.units, divergence->reduce.event_ndim, shape);
  }
};

std::tuple<Tensor, Tensor> forward(Head head) {
  head.check();
  if (head.is_mixed()) return {std::get<0>(forward(head.only_sample())), std::get<1>(forward(head.only_divergence()))};
  GaussianHeadForward a;
  Layout layout = head.make_layout();
  head.fill(a, layout);
  Tensor z, kl;
  if (head.sampling) {
    z = empty_of(head.loc, head.sample_shape(), head.sample_type());
    head.each_sample(z, a.z_sample, [&](const Tensor& t) { layout.out(a.z, t); });
  }
  if (head.divergence) {
    a.divergence = true;
    kl = make_loss(a.kl, *head.reduce, layout, head.loc, head.shape, head.type());
  }
  a.extent = layout.resolve();
  cpu_kernels().gaussian_head_forward(a, workspace(a.extent, a.kl.reduction).get(), parallel());
  layout.finish();
  return {z, kl};
}

// Where the gradients go; undefined ones are not computed.
struct HeadGradients {
  Tensor loc = {}, scale = {}, prior_loc = {}, prior_scale = {}, eps = {};
};

void backward(Head head, const Tensor& grad_z, const Tensor& grad_kl, const HeadGradients& d) {
  head.check();
  if (head.is_mixed()) {
    const auto like = [](const Tensor& t) { return t.defined() ? at::empty_like(t) : Tensor(); };
    const HeadGradients through_z{.loc = like(d.loc), .scale = like(d.scale), .eps = d.eps};
    backward(head.only_sample(), grad_z, {}, through_z);
    backward(head.only_divergence(), {}, grad_kl, {d.loc, d.scale, d.prior_loc, d.prior_scale, {}});
    if (d.loc.defined()) d.loc.add_(through_z.loc);
    if (d.scale.defined()) d.scale.add_(through_z.scale);
    return;
  }
  // Several samples are written at one stride, so where eps has another layout its gradient is copied into place.
  const bool eps_in_place = !d.eps.defined() || head.sampling->shape.empty() || d.eps.is_contiguous();
  const Tensor d_eps = eps_in_place ? d.eps : at::empty(d.eps.sizes(), d.eps.options());
  GaussianHeadBackward a;
  Layout layout = head.make_layout();
  head.fill(a, layout);
  if (head.sampling) {
    head.each_sample(grad_z, a.grad_z_sample, [&](const Tensor& t) { layout.in(a.grad_z, t); });
    head.each_sample(d_eps, a.d_eps_sample, [&](const Tensor& t) { layout.out(a.d_eps, t); });
  }
  if (head.divergence) {
    if (grad_kl.defined()) layout.in(a.grad_kl, expand_grad(grad_kl, *head.reduce, head.shape));
    a.kl_factor = head.reduce->factor;
    a.grad_scale_q = head.divergence->grad_scale_q;
    a.grad_scale_p = head.divergence->grad_scale_p;
  }
  layout.gradient(a.d_loc, d.loc);
  layout.gradient(a.d_scale, d.scale);
  layout.gradient(a.d_prior_loc, d.prior_loc);
  layout.gradient(a.d_prior_scale, d.prior_scale);
  a.extent = layout.resolve();
  cpu_kernels().gaussian_head_backward(a, parallel());
  layout.finish();
  if (!eps_in_place) d.eps.copy_(d_eps);
}

// The i-th argument's gradient, if the mask asks for it.
Tensor wanted(const Tensor& argument, int64_t mask, int i) {
  return mask >> i & 1 && argument.defined() ? at::empty_like(argument) : Tensor();
}

Tensor gaussian_rsample(const Tensor& loc, const Tensor& scale, const OptionalTensor& key, const OptionalTensor& eps,
                        SAMPLE_OPTIONS, SCALE_OPTIONS) {
  return std::get<0>(forward(
      {.loc = loc,
       .scale = scale,
       .scale_options = SCALE,
       .sampling = SampleOptions{or_undefined(key), or_undefined(eps), sample_shape, temperature, element_offset}}));
}

std::tuple<Tensor, Tensor, Tensor> gaussian_rsample_backward(const OptionalTensor& grad_z, const Tensor& loc,
                                                             const Tensor& scale, const OptionalTensor& key,
                                                             const OptionalTensor& eps, SAMPLE_OPTIONS, SCALE_OPTIONS,
                                                             int64_t mask) {
  const HeadGradients d{
      .loc = wanted(loc, mask, 0), .scale = wanted(scale, mask, 1), .eps = wanted(or_undefined(eps), mask, 2)};
  backward({.loc = loc,
            .scale = scale,
            .scale_options = SCALE,
            .sampling = SampleOptions{or_undefined(key), or_undefined(eps), sample_shape, temperature, element_offset}},
           or_undefined(grad_z), {}, d);
  return {d.loc, d.scale, d.eps};
}

Tensor gaussian_kl(const Tensor& loc, const Tensor& scale, const OptionalTensor& prior_loc,
                   const OptionalTensor& prior_scale, SCALE_OPTIONS, KL_OPTIONS, REDUCE_OPTIONS) {
  return std::get<1>(forward({.loc = loc,
                              .scale = scale,
                              .prior_loc = or_undefined(prior_loc),
                              .prior_scale = or_undefined(prior_scale),
                              .scale_options = SCALE,
                              .divergence = DivergenceOptions{free_bits, grad_scale_q, grad_scale_p, REDUCE}}));
}

std::tuple<Tensor, Tensor, Tensor, Tensor> gaussian_kl_backward(const OptionalTensor& grad_kl, const Tensor& loc,
                                                                const Tensor& scale, const OptionalTensor& prior_loc,
                                                                const OptionalTensor& prior_scale, SCALE_OPTIONS,
                                                                KL_OPTIONS, REDUCE_OPTIONS, int64_t mask) {
  const HeadGradients d{.loc = wanted(loc, mask, 0),
                        .scale = wanted(scale, mask, 1),
                        .prior_loc = wanted(or_undefined(prior_loc), mask, 2),
                        .prior_scale = wanted(or_undefined(prior_scale), mask, 3)};
  backward({.loc = loc,
            .scale = scale,
            .prior_loc = or_undefined(prior_loc),
            .prior_scale = or_undefined(prior_scale),
            .scale_options = SCALE,
            .divergence = DivergenceOptions{free_bits, grad_scale_q, grad_scale_p, REDUCE}},
           {}, or_undefined(grad_kl), d);
  return {d.loc, d.scale, d.prior_loc, d.prior_scale};
}

std::tuple<Tensor, Tensor> gaussian_rsample_kl(const Tensor& loc, const Tensor& scale, const OptionalTensor& prior_loc,
                                               const OptionalTensor& prior_scale, const OptionalTensor& key,
                                               const OptionalTensor& eps, SAMPLE_OPTIONS, SCALE_OPTIONS, KL_OPTIONS,
                                               REDUCE_OPTIONS) {
  return forward(
      {.loc = loc,
       .scale = scale,
       .prior_loc = or_undefined(prior_loc),
       .prior_scale = or_undefined(prior_scale),
       .scale_options = SCALE,
       .sampling = SampleOptions{or_undefined(key), or_undefined(eps), sample_shape, temperature, element_offset},
       .divergence = DivergenceOptions{free_bits, grad_scale_q, grad_scale_p, REDUCE}});
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> gaussian_rsample_kl_backward(
    const OptionalTensor& grad_z, const OptionalTensor& grad_kl, const Tensor& loc, const Tensor& scale,
    const OptionalTensor& prior_loc, const OptionalTensor& prior_scale, const OptionalTensor& key,
    const OptionalTensor& eps, SAMPLE_OPTIONS, SCALE_OPTIONS, KL_OPTIONS, REDUCE_OPTIONS, int64_t mask) {
  const HeadGradients d{.loc = wanted(loc, mask, 0),
                        .scale = wanted(scale, mask, 1),
                        .prior_loc = wanted(or_undefined(prior_loc), mask, 2),
                        .prior_scale = wanted(or_undefined(prior_scale), mask, 3),
                        .eps = wanted(or_undefined(eps), mask, 4)};
  backward({.loc = loc,
            .scale = scale,
            .prior_loc = or_undefined(prior_loc),
            .prior_scale = or_undefined(prior_scale),
            .scale_options = SCALE,
            .sampling = SampleOptions{or_undefined(key), or_undefined(eps), sample_shape, temperature, element_offset},
            .divergence = DivergenceOptions{free_bits, grad_scale_q, grad_scale_p, REDUCE}},
           or_undefined(grad_z), or_undefined(grad_kl), d);
  return {d.loc, d.scale, d.prior_loc, d.prior_scale, d.eps};
}

// The loc and scale views of a packed tensor.
std::pair<Tensor, Tensor> unpack(const Tensor& moments, int64_t chunk_dim, std::optional<int64_t> latent) {
  check_tensor("moments", moments, moments, "moments");
  const int64_t ndim = moments.dim();
  TORCH_CHECK_VALUE(chunk_dim >= -ndim && chunk_dim < ndim, "chunk_dim: expected a dimension of moments ",
                    moments.sizes(), ", got ", chunk_dim);
  const int64_t channels = moments.size(chunk_dim);
  TORCH_CHECK_VALUE(latent || channels >= 2, "moments: expected at least 2 channels along dimension ", chunk_dim,
                    ", got ", channels);
  TORCH_CHECK_VALUE(!latent || *latent >= 1, "latent_channels: expected an int >= 1, got ", latent.value_or(0));
  const int64_t c = latent.value_or(channels % 2 ? channels - 1 : channels / 2);
  TORCH_CHECK_VALUE(channels == 2 * c || channels == c + 1, "moments: expected ", 2 * c, " or ", c + 1,
                    " channels along dimension ", chunk_dim, ", got ", channels);
  return {moments.narrow(chunk_dim, 0, c), moments.narrow(chunk_dim, c, channels - c)};
}

std::tuple<Tensor, Tensor> gaussian_rsample_kl_packed(const Tensor& moments, int64_t chunk_dim,
                                                      std::optional<int64_t> latent, const OptionalTensor& key,
                                                      const OptionalTensor& eps, SAMPLE_OPTIONS, SCALE_OPTIONS,
                                                      KL_OPTIONS, REDUCE_OPTIONS) {
  const auto [loc, scale] = unpack(moments, chunk_dim, latent);
  return forward(
      {.loc = loc,
       .scale = scale,
       .scale_options = SCALE,
       .sampling = SampleOptions{or_undefined(key), or_undefined(eps), sample_shape, temperature, element_offset},
       .divergence = DivergenceOptions{free_bits, grad_scale_q, grad_scale_p, REDUCE}});
}

// The gradient is written straight into the packed layout.
std::tuple<Tensor, Tensor> gaussian_rsample_kl_packed_backward(const OptionalTensor& grad_z,
                                                               const OptionalTensor& grad_kl, const Tensor& moments,
                                                               int64_t chunk_dim, std::optional<int64_t> latent,
                                                               const OptionalTensor& key, const OptionalTensor& eps,
                                                               SAMPLE_OPTIONS, SCALE_OPTIONS, KL_OPTIONS,
                                                               REDUCE_OPTIONS, int64_t mask) {
  const auto [loc, scale] = unpack(moments, chunk_dim, latent);
  const Tensor d_moments = wanted(moments, mask, 0);
  HeadGradients d{.eps = wanted(or_undefined(eps), mask, 1)};
  if (d_moments.defined()) std::tie(d.loc, d.scale) = unpack(d_moments, chunk_dim, latent);
  backward({.loc = loc,
            .scale = scale,
            .scale_options = SCALE,
            .sampling = SampleOptions{or_undefined(key), or_undefined(eps), sample_shape, temperature, element_offset},
            .divergence = DivergenceOptions{free_bits, grad_scale_q, grad_scale_p, REDUCE}},
           or_undefined(grad_z), or_undefined(grad_kl), d);
  return {d_moments, d.eps};
}

// x, loc and scale of a likelihood; no scale: a number.
struct Nll {
  Tensor x, loc, scale;
  at::DimVector shape;
  Reduce reduce;

  Nll(const Tensor& x, const Tensor& loc, const OptionalTensor& scale, std::string_view reduction,
      std::string_view units, std::optional<int64_t> event_ndim)
      : x(x), loc(loc), scale(or_undefined(scale)), shape(check()), reduce(reduction, units, event_ndim, shape) {}

  Layout fill(GaussianNll& a, double scale_value, bool full, const ScaleOptions& options) const {
    Layout layout(shape, reduce.event_ndim, true);
    a.wide = type() == at::kDouble;
    a.scale_value = scale_value;
    a.full = full;
    a.scale_options = options;
    layout.in(a.x, x);
    layout.in(a.loc, loc);
    layout.in(a.scale, scale);
    return layout;
  }
  at::ScalarType type() const { return compute_type({&x, &loc, &scale}); }

  // Whether one scale serves a whole row, so that its gradient is a sum over the row.
  bool scale_by_row() const {
    if (!scale.defined() || scale.sizes() == at::IntArrayRef(shape)) return false;
    const int64_t event_from = static_cast<int64_t>(shape.size()) - reduce.event_ndim;
    for (int64_t d = 1; d <= scale.dim(); ++d)
      if (static_cast<int64_t>(shape.size()) - d >= event_from && scale.size(-d) != 1) return false;
    return true;
  }

 private:
  at::DimVector check() const {
    check_tensor("x", x, x, "x");
    check_tensor("loc", loc, x, "x");
    check_tensor("scale", scale, x, "x", true);
    return broadcast({{"x", &x}, {"loc", &loc}, {"scale", &scale}});
  }
};

Tensor gaussian_nll(const Tensor& x, const Tensor& loc, const OptionalTensor& scale, double scale_value, bool full,
                    SCALE_OPTIONS, REDUCE_OPTIONS) {
  const Nll nll(x, loc, scale, reduction, units, event_ndim);
  GaussianNllForward a;
  Layout layout = nll.fill(a, scale_value, full, SCALE);
  const Tensor result = make_loss(a.nll, nll.reduce, layout, x, nll.shape, nll.type());
  a.extent = layout.resolve();
  cpu_kernels().gaussian_nll_forward(a, workspace(a.extent, a.nll.reduction).get(), parallel());
  layout.finish();
  return result;
}

std::tuple<Tensor, Tensor, Tensor> gaussian_nll_backward(const OptionalTensor& grad, const Tensor& x, const Tensor& loc,
                                                         const OptionalTensor& scale, double scale_value, bool full,
                                                         SCALE_OPTIONS, REDUCE_OPTIONS, int64_t mask) {
  const Nll nll(x, loc, scale, reduction, units, event_ndim);
  const Tensor d_x = wanted(x, mask, 0), d_loc = wanted(loc, mask, 1), d_scale = wanted(nll.scale, mask, 2);
  GaussianNllBackward a;
  Layout layout = nll.fill(a, scale_value, full, SCALE);
  layout.in(a.grad, expand_grad(or_undefined(grad), nll.reduce, nll.shape));
  a.factor = nll.reduce.factor;
  layout.gradient(a.d_x, d_x);
  layout.gradient(a.d_loc, d_loc);
  Tensor by_row;
  if (d_scale.defined() && nll.scale_by_row()) {
    at::DimVector rows(nll.shape.begin(), nll.shape.end() - nll.reduce.event_ndim);
    by_row = at::empty(rows, x.options().dtype(nll.type()));
    a.d_scale_sum.reduction = Reduction::event;
    a.d_scale_sum.out.data = by_row.data_ptr();
  } else {
    layout.gradient(a.d_scale, d_scale);
  }
  a.extent = layout.resolve();
  cpu_kernels().gaussian_nll_backward(a, workspace(a.extent, a.d_scale_sum.reduction).get(), parallel());
  layout.finish();
  if (by_row.defined()) sum_into(d_scale, trailing_ones(by_row, static_cast<int64_t>(nll.shape.size())));
  return {d_x, d_loc, d_scale};
}

Tensor gaussian_entropy(const Tensor& scale, SCALE_OPTIONS, REDUCE_OPTIONS) {
  check_tensor("scale", scale, scale, "scale");
  const Reduce reduce(reduction, units, event_ndim, scale.sizes());
  GaussianEntropyForward a;
  Layout layout(scale.sizes(), reduce.event_ndim, true);
  const auto type = compute_type({&scale});
  a.wide = type == at::kDouble;
  a.scale_options = SCALE;
  layout.in(a.scale, scale);
  const Tensor result = make_loss(a.entropy, reduce, layout, scale, scale.sizes(), type);
  a.extent = layout.resolve();
  cpu_kernels().gaussian_entropy_forward(a, workspace(a.extent, a.entropy.reduction).get(), parallel());
  layout.finish();
  return result;
}

Tensor gaussian_entropy_backward(const OptionalTensor& grad, const Tensor& scale, SCALE_OPTIONS, REDUCE_OPTIONS,
                                 int64_t mask) {
  check_tensor("scale", scale, scale, "scale");
  const Reduce reduce(reduction, units, event_ndim, scale.sizes());
  const Tensor d_scale = wanted(scale, mask, 0);
  GaussianEntropyBackward a;
  Layout layout(scale.sizes(), reduce.event_ndim, true);
  a.wide = compute_type({&scale}) == at::kDouble;
  a.scale_options = SCALE;
  a.factor = reduce.factor;
  layout.in(a.scale, scale);
  layout.in(a.grad, expand_grad(or_undefined(grad), reduce, scale.sizes()));
  layout.gradient(a.d_scale, d_scale);
  a.extent = layout.resolve();
  cpu_kernels().gaussian_entropy_backward(a, parallel());
  layout.finish();
  return d_scale;
}

}  // namespace

TORCH_LIBRARY_IMPL(genkern, CPU, m) {
#define GENKERN_IMPL(name) m.impl(#name, TORCH_FN(name))
  GENKERN_IMPL(gaussian_rsample);
  GENKERN_IMPL(gaussian_rsample_backward);
  GENKERN_IMPL(gaussian_kl);
  GENKERN_IMPL(gaussian_kl_backward);
  GENKERN_IMPL(gaussian_rsample_kl);
  GENKERN_IMPL(gaussian_rsample_kl_backward);
  GENKERN_IMPL(gaussian_rsample_kl_packed);
  GENKERN_IMPL(gaussian_rsample_kl_packed_backward);
  GENKERN_IMPL(gaussian_nll);
  GENKERN_IMPL(gaussian_nll_backward);
  GENKERN_IMPL(gaussian_entropy);
  GENKERN_IMPL(gaussian_entropy_backward);
#undef GENKERN_IMPL
}

}  // namespace genkern
