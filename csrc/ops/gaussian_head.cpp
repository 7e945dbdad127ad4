// Samples of a Gaussian and its divergence: checks, allocation, launch.
#include <ATen/ExpandUtils.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "ops/common.h"
#include "ops/device.h"
#include "ops/options.h"

namespace genkern {
namespace {

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

  bool has_no_sample() const { return sampling && samples() == 0; }
  // A wider prior must not change the noise: the sample then has a launch of its own.
  bool is_mixed() const { return sampling && divergence && type() != compute_type({&loc, &scale}); }
  Head only_sample() const { return {loc, scale, {}, {}, scale_options, sampling}; }
  Head only_divergence() const { return {loc, scale, prior_loc, prior_scale, scale_options, {}, divergence}; }

  // A tensor of samples as the layout takes it: that of the first sample, and the stride to the next.
  template <class Add>
  void each_sample(const Tensor& tensor, int64_t& stride, const Add& add) const {
    if (!tensor.defined()) return;
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
      if (sampling->noise.key.defined()) a.noise.key = key_source(sampling->noise.key);
      const Tensor eps = readable(sampling->noise.eps, type());
      each_sample(eps, a.noise.eps_sample, [&](const Tensor& t) { layout.in(a.noise.eps, t); });
    }
    if (divergence) a.free_nats = divergence->free_bits * reduce->nats_per_unit;
  }

  // With noise from a key the order of elements is that of the noise. With several samples it is that of the first
  // one's place in the whole, which a copy in another order would not keep.
  Layout make_layout() const {
    const bool any_order = !sampling || (sampling->noise.eps.defined() && sampling->shape.empty());
    return Layout(shape, reduce ? reduce->event_ndim : std::max<int64_t>(static_cast<int64_t>(shape.size()) - 1, 0),
                  any_order);
  }

 private:
  void check_sampling() const {
    for (const int64_t size : sampling->shape)
      TORCH_CHECK_VALUE(size >= 0, "sample_shape: expected an int >= 0, got ", size);
    check_noise(sampling->noise, sampling->element_offset, loc, "loc", sample_shape());
  }

  void check_divergence() {
    const at::DimVector own = shape;
    if (sampling)
      for (const auto& [name, prior] : {std::pair("prior_loc", &prior_loc), {"prior_scale", &prior_scale}})
        TORCH_CHECK_VALUE(!prior->defined() || at::is_expandable_to(prior->sizes(), own), name,
                          ": expected a shape that broadcasts to that of loc and scale ", shape_text(own), ", got ",
                          shape_text(prior->sizes()));
    shape = broadcast({{"loc", &loc}, {"scale", &scale}, {"prior_loc", &prior_loc}, {"prior_scale", &prior_scale}});
    TORCH_CHECK_VALUE(divergence->free_bits >= 0, "free_bits: expected a number >= 0, got ", divergence->free_bits);
    reduce.emplace(divergence->reduce.reduction, divergence->reduce.units, divergence->reduce.event_ndim, shape);
  }
};

struct Outputs {
  Tensor z, kl, key;  // key: what was drawn
};

Outputs forward(Head head) {
  head.check();
  if (head.has_no_sample()) {
    Outputs out;
    out.z = empty_of(head.loc, head.sample_shape(), head.sample_type());
    KeySource unused;
    if (head.sampling->noise.drawn) out.key = draw_key(unused, head.sampling->noise.generator, out.z);
    if (head.divergence) out.kl = forward(head.only_divergence()).kl;
    return out;
  }
  if (head.is_mixed()) {
    const Outputs sample = forward(head.only_sample());
    return {sample.z, forward(head.only_divergence()).kl, sample.key};
  }
  GaussianHeadForward a;
  Layout layout = head.make_layout();
  head.fill(a, layout);
  Outputs out;
  if (head.sampling) {
    out.z = empty_of(head.loc, head.sample_shape(), head.sample_type());
    head.each_sample(out.z, a.z_sample, [&](const Tensor& t) { layout.out(a.z, t); });
    if (head.sampling->noise.drawn) out.key = draw_key(a.noise.key, head.sampling->noise.generator, out.z);
  }
  if (head.divergence) {
    a.divergence = true;
    out.kl = make_loss(a.kl, *head.reduce, layout, head.loc, head.shape, head.type());
  }
  a.extent = layout.resolve();
  Device(head.loc.device()).run(&Kernels::gaussian_head_forward, a, a.extent, a.kl.reduction, a.divergence);
  layout.finish();
  return out;
}

// Where the gradients go; undefined ones are not computed.
struct HeadGradients {
  Tensor loc = {}, scale = {}, prior_loc = {}, prior_scale = {}, eps = {};
};

void backward(Head head, const Tensor& grad_z, const Tensor& grad_kl, const HeadGradients& d) {
  head.check();
  if (head.has_no_sample()) {
    if (head.divergence)
      return backward(head.only_divergence(), {}, grad_kl, {d.loc, d.scale, d.prior_loc, d.prior_scale, {}});
    for (const Tensor& gradient : {d.loc, d.scale})
      if (gradient.defined()) gradient.zero_();
    return;
  }
  if (head.is_mixed()) {
    // Each in the type of its arithmetic: they are rounded once they are added.
    const auto like = [](const Tensor& t, at::ScalarType type) {
      return t.defined() ? at::empty_like(t, t.options().dtype(type)) : Tensor();
    };
    const auto narrow = compute_type({&head.loc, &head.scale});
    const HeadGradients by_z{.loc = like(d.loc, narrow), .scale = like(d.scale, narrow), .eps = d.eps};
    const HeadGradients by_kl{like(d.loc, at::kDouble), like(d.scale, at::kDouble), d.prior_loc, d.prior_scale, {}};
    backward(head.only_sample(), grad_z, {}, by_z);
    backward(head.only_divergence(), {}, grad_kl, by_kl);
    if (d.loc.defined()) d.loc.copy_(by_kl.loc.add_(by_z.loc));
    if (d.scale.defined()) d.scale.copy_(by_kl.scale.add_(by_z.scale));
    return;
  }
  // Several samples are written at one stride, so eps' gradient is then dense.
  const EpsGradient d_eps(d.eps, head.type(), head.sampling && !head.sampling->shape.empty());
  GaussianHeadBackward a;
  Layout layout = head.make_layout();
  head.fill(a, layout);
  if (head.sampling) {
    head.each_sample(grad_z, a.grad_z_sample, [&](const Tensor& t) { layout.in(a.grad_z, t); });
    head.each_sample(d_eps.made(), a.d_eps_sample, [&](const Tensor& t) { layout.out(a.d_eps, t); });
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
  Device(head.loc.device()).run(&Kernels::gaussian_head_backward, a);
  layout.finish();
  d_eps.finish();
}

Head sample_of(const Tensor& loc, const Tensor& scale, const NoiseOrigin& noise, SAMPLE_OPTIONS, SCALE_OPTIONS) {
  return {.loc = loc,
          .scale = scale,
          .scale_options = SCALE,
          .sampling = SampleOptions{noise, sample_shape, temperature, element_offset}};
}

Tensor gaussian_rsample(const Tensor& loc, const Tensor& scale, const OptionalTensor& key, const OptionalTensor& eps,
                        SAMPLE_OPTIONS, SCALE_OPTIONS) {
  return forward(sample_of(loc, scale, {key, eps}, SAMPLE_VALUES, SCALE_VALUES)).z;
}

std::tuple<Tensor, Tensor> gaussian_rsample_draw(const Tensor& loc, const Tensor& scale, const Generator& generator,
                                                 SAMPLE_OPTIONS, SCALE_OPTIONS) {
  const Outputs out = forward(sample_of(loc, scale, NoiseOrigin(generator), SAMPLE_VALUES, SCALE_VALUES));
  return {out.z, out.key};
}

std::tuple<Tensor, Tensor, Tensor> gaussian_rsample_backward(const OptionalTensor& grad_z, const Tensor& loc,
                                                             const Tensor& scale, const OptionalTensor& key,
                                                             const OptionalTensor& eps, SAMPLE_OPTIONS, SCALE_OPTIONS,
                                                             int64_t mask) {
  const HeadGradients d{
      .loc = wanted(loc, mask, 0), .scale = wanted(scale, mask, 1), .eps = wanted(or_undefined(eps), mask, 2)};
  backward(sample_of(loc, scale, {key, eps}, SAMPLE_VALUES, SCALE_VALUES), or_undefined(grad_z), {}, d);
  return {d.loc, d.scale, d.eps};
}

Head divergence_of(const Tensor& loc, const Tensor& scale, const OptionalTensor& prior_loc,
                   const OptionalTensor& prior_scale, SCALE_OPTIONS, KL_OPTIONS, REDUCE_OPTIONS) {
  return {.loc = loc,
          .scale = scale,
          .prior_loc = or_undefined(prior_loc),
          .prior_scale = or_undefined(prior_scale),
          .scale_options = SCALE,
          .divergence = DivergenceOptions{free_bits, grad_scale_q, grad_scale_p, REDUCE}};
}

Tensor gaussian_kl(const Tensor& loc, const Tensor& scale, const OptionalTensor& prior_loc,
                   const OptionalTensor& prior_scale, SCALE_OPTIONS, KL_OPTIONS, REDUCE_OPTIONS) {
  return forward(divergence_of(loc, scale, prior_loc, prior_scale, SCALE_VALUES, KL_VALUES, REDUCE_VALUES)).kl;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> gaussian_kl_backward(const OptionalTensor& grad_kl, const Tensor& loc,
                                                                const Tensor& scale, const OptionalTensor& prior_loc,
                                                                const OptionalTensor& prior_scale, SCALE_OPTIONS,
                                                                KL_OPTIONS, REDUCE_OPTIONS, int64_t mask) {
  const HeadGradients d{.loc = wanted(loc, mask, 0),
                        .scale = wanted(scale, mask, 1),
                        .prior_loc = wanted(or_undefined(prior_loc), mask, 2),
                        .prior_scale = wanted(or_undefined(prior_scale), mask, 3)};
  backward(divergence_of(loc, scale, prior_loc, prior_scale, SCALE_VALUES, KL_VALUES, REDUCE_VALUES), {},
           or_undefined(grad_kl), d);
  return {d.loc, d.scale, d.prior_loc, d.prior_scale};
}

Head head_of(const Tensor& loc, const Tensor& scale, const OptionalTensor& prior_loc, const OptionalTensor& prior_scale,
             const NoiseOrigin& noise, SAMPLE_OPTIONS, SCALE_OPTIONS, KL_OPTIONS, REDUCE_OPTIONS) {
  Head head = divergence_of(loc, scale, prior_loc, prior_scale, SCALE_VALUES, KL_VALUES, REDUCE_VALUES);
  head.sampling = SampleOptions{noise, sample_shape, temperature, element_offset};
  return head;
}

std::tuple<Tensor, Tensor> gaussian_rsample_kl(const Tensor& loc, const Tensor& scale, const OptionalTensor& prior_loc,
                                               const OptionalTensor& prior_scale, const OptionalTensor& key,
                                               const OptionalTensor& eps, SAMPLE_OPTIONS, SCALE_OPTIONS, KL_OPTIONS,
                                               REDUCE_OPTIONS) {
  const Outputs out = forward(head_of(loc, scale, prior_loc, prior_scale, {key, eps}, HEAD_VALUES));
  return {out.z, out.kl};
}

std::tuple<Tensor, Tensor, Tensor> gaussian_rsample_kl_draw(const Tensor& loc, const Tensor& scale,
                                                            const OptionalTensor& prior_loc,
                                                            const OptionalTensor& prior_scale,
                                                            const Generator& generator, SAMPLE_OPTIONS, SCALE_OPTIONS,
                                                            KL_OPTIONS, REDUCE_OPTIONS) {
  const Outputs out = forward(head_of(loc, scale, prior_loc, prior_scale, NoiseOrigin(generator), HEAD_VALUES));
  return {out.z, out.kl, out.key};
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
  backward(head_of(loc, scale, prior_loc, prior_scale, {key, eps}, HEAD_VALUES), or_undefined(grad_z),
           or_undefined(grad_kl), d);
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
  const Outputs out = forward(head_of(loc, scale, {}, {}, {key, eps}, HEAD_VALUES));
  return {out.z, out.kl};
}

std::tuple<Tensor, Tensor, Tensor> gaussian_rsample_kl_packed_draw(const Tensor& moments, int64_t chunk_dim,
                                                                   std::optional<int64_t> latent,
                                                                   const Generator& generator, SAMPLE_OPTIONS,
                                                                   SCALE_OPTIONS, KL_OPTIONS, REDUCE_OPTIONS) {
  const auto [loc, scale] = unpack(moments, chunk_dim, latent);
  const Outputs out = forward(head_of(loc, scale, {}, {}, NoiseOrigin(generator), HEAD_VALUES));
  return {out.z, out.kl, out.key};
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
  backward(head_of(loc, scale, {}, {}, {key, eps}, HEAD_VALUES), or_undefined(grad_z), or_undefined(grad_kl), d);
  return {d_moments, d.eps};
}

void register_kernels(torch::Library& m) {
  m.impl("gaussian_rsample", TORCH_FN(gaussian_rsample));
  m.impl("gaussian_rsample.draw", TORCH_FN(gaussian_rsample_draw));
  m.impl("gaussian_rsample_backward", TORCH_FN(gaussian_rsample_backward));
  m.impl("gaussian_kl", TORCH_FN(gaussian_kl));
  m.impl("gaussian_kl_backward", TORCH_FN(gaussian_kl_backward));
  m.impl("gaussian_rsample_kl", TORCH_FN(gaussian_rsample_kl));
  m.impl("gaussian_rsample_kl.draw", TORCH_FN(gaussian_rsample_kl_draw));
  m.impl("gaussian_rsample_kl_backward", TORCH_FN(gaussian_rsample_kl_backward));
  m.impl("gaussian_rsample_kl_packed", TORCH_FN(gaussian_rsample_kl_packed));
  m.impl("gaussian_rsample_kl_packed.draw", TORCH_FN(gaussian_rsample_kl_packed_draw));
  m.impl("gaussian_rsample_kl_packed_backward", TORCH_FN(gaussian_rsample_kl_packed_backward));
}

}  // namespace

GENKERN_FOR_EACH_DEVICE(register_kernels)

}  // namespace genkern
