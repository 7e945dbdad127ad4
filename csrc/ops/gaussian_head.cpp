// Samples of a Gaussian and its divergence: checks, allocation, launch.
#include <ATen/ExpandUtils.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "ops/arguments.h"
#include "ops/device.h"

namespace genkern::gaussian_head_op {

// Everything that gaussian_rsample, gaussian_kl and gaussian_rsample_kl have in common: one of them is a head
// without a divergence, one without a sample.
struct Head {
  Tensor loc, scale, prior_loc = {}, prior_scale = {};
  ScaleOptions scale_options = {};
  std::optional<SampleOptions> sampling = {};
  std::optional<DivergenceOptions> divergence = {};
  LossOptions loss = {};
  at::DimVector shape = {};  // of q, and of p where there is a divergence
  std::optional<Reduce> reduce = {};

  void check() {
    shape = broadcast({loc, scale});
    if (sampling) {
      GK_REQUIRE(std::all_of(sampling->shape.begin(), sampling->shape.end(), [](int64_t size) { return size >= 0; }));
      check_noise(sampling->noise, sampling->element_offset, loc, sample_shape());
    }
    if (!divergence) return;
    const at::DimVector joint = broadcast({loc, scale, prior_loc, prior_scale});
    GK_REQUIRE(!sampling || joint == shape);
    shape = joint;
    reduce = loss.over(shape);
  }

  at::DimVector sample_shape() const {
    at::DimVector full(sampling->shape.begin(), sampling->shape.end());
    full.append(shape.begin(), shape.end());
    return full;
  }
  int64_t samples() const { return c10::multiply_integers(sampling->shape); }
  at::ScalarType sample_type() const { return c10::promoteTypes(loc.scalar_type(), scale.scalar_type()); }
  at::ScalarType type() const { return compute_type({loc, scale, prior_loc, prior_scale}); }

  bool has_no_sample() const { return sampling && samples() == 0; }
  // A wider prior must not change the noise: the sample then has a launch of its own.
  bool is_mixed() const { return sampling && divergence && type() != compute_type({loc, scale}); }
  Head only_sample() const { return {loc, scale, {}, {}, scale_options, sampling}; }
  Head only_divergence() const { return {loc, scale, prior_loc, prior_scale, scale_options, {}, divergence, loss}; }

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

  // Where noise comes from a key, the order of elements is that of the noise. Of several samples it is that of the
  // first one's place in the whole, which a copy in another order would not keep.
  Layout make_layout() const {
    const bool any_order = !sampling || (sampling->noise.eps.defined() && sampling->shape.empty());
    return Layout(shape, reduce ? reduce->event_ndim : std::max<int64_t>(static_cast<int64_t>(shape.size()) - 1, 0),
                  any_order);
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
  launch(layout, head.loc, head.sampling ? &Kernels::gaussian_sample_forward : &Kernels::gaussian_kl_forward, a);
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
    const auto narrow = compute_type({head.loc, head.scale});
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
  launch(layout, head.loc, &Kernels::gaussian_head_backward, a);
  d_eps.finish();
}

// The loc and scale views of a packed tensor.
struct Packed {
  Tensor moments;
  int64_t chunk_dim;
  std::optional<int64_t> latent;

  explicit Packed(Arguments& a) : moments(a.tensor()), chunk_dim(a.integer()), latent(a.integer_or_none()) {
    const int64_t ndim = moments.dim();
    GK_REQUIRE(chunk_dim >= -ndim && chunk_dim < ndim);
    const int64_t channels = moments.size(chunk_dim);
    if (!latent) latent = channels % 2 ? channels - 1 : channels / 2;
    GK_REQUIRE(*latent >= 1 && (channels == 2 * *latent || channels == *latent + 1));
  }
  Tensor loc(const Tensor& of) const { return of.narrow(chunk_dim, 0, *latent); }
  Tensor scale(const Tensor& of) const { return of.narrow(chunk_dim, *latent, of.size(chunk_dim) - *latent); }
};

enum Parts { kSample = 1, kDivergence = 2, kBoth = 3 };

// What follows the distributions in a schema.
template <Parts parts>
Head read_options(Arguments& a, Head head) {
  if (parts & kSample) {
    SampleOptions& s = head.sampling.emplace();
    s.noise = a.noise();
    s.shape = a.integers();
    s.temperature = a.number();
    s.element_offset = a.integer();
  }
  head.scale_options = a.scale();
  if (parts & kDivergence) {
    head.divergence = a.divergence();
    head.loss = a.loss();
  }
  return head;
}

template <Parts parts>
Head read_head(Arguments& a) {
  Head head{.loc = a.tensor(), .scale = a.tensor()};
  if (parts & kDivergence) head.prior_loc = a.tensor(), head.prior_scale = a.tensor();
  return read_options<parts>(a, std::move(head));
}

template <Parts parts>
Tensors results(const Head& head) {
  const Outputs out = forward(head);
  Tensors found;
  if (parts & kSample) found.push_back(out.z);
  if (parts & kDivergence) found.push_back(out.kl);
  if (out.key.defined()) found.push_back(out.key);
  return found;
}

template <Parts parts>
Tensors head_forward(Arguments& a) {
  return results<parts>(read_head<parts>(a));
}

template <Parts parts>
Tensors head_backward(Arguments& a) {
  Tensor grad_z, grad_kl;
  if (parts & kSample) grad_z = a.tensor();
  if (parts & kDivergence) grad_kl = a.tensor();
  const Head head = read_head<parts>(a);
  const int64_t mask = a.integer();
  int bit = 0;
  HeadGradients d{.loc = wanted(head.loc, mask, bit++), .scale = wanted(head.scale, mask, bit++)};
  if (parts & kDivergence) {
    d.prior_loc = wanted(head.prior_loc, mask, bit++);
    d.prior_scale = wanted(head.prior_scale, mask, bit++);
  }
  if (parts & kSample) d.eps = wanted(head.sampling->noise.eps, mask, bit);
  backward(head, grad_z, grad_kl, d);
  Tensors found{d.loc, d.scale};
  if (parts & kDivergence) found.append({d.prior_loc, d.prior_scale});
  if (parts & kSample) found.push_back(d.eps);
  return found;
}

Tensors packed_forward(Arguments& a) {
  const Packed packed(a);
  return results<kBoth>(
      read_options<kBoth>(a, {.loc = packed.loc(packed.moments), .scale = packed.scale(packed.moments)}));
}

// The gradient is written straight into the packed layout.
Tensors packed_backward(Arguments& a) {
  const Tensor grad_z = a.tensor(), grad_kl = a.tensor();
  const Packed packed(a);
  const Head head = read_options<kBoth>(a, {.loc = packed.loc(packed.moments), .scale = packed.scale(packed.moments)});
  const int64_t mask = a.integer();
  const Tensor d_moments = wanted(packed.moments, mask, 0);
  HeadGradients d{.eps = wanted(head.sampling->noise.eps, mask, 1)};
  if (d_moments.defined()) d.loc = packed.loc(d_moments), d.scale = packed.scale(d_moments);
  backward(head, grad_z, grad_kl, d);
  return {d_moments, d.eps};
}

GENKERN_OPS(m) {
  implement<head_forward<kSample>, head_backward<kSample>>(m, "gaussian_rsample", true);
  implement<head_forward<kDivergence>, head_backward<kDivergence>>(m, "gaussian_kl");
  implement<head_forward<kBoth>, head_backward<kBoth>>(m, "gaussian_rsample_kl", true);
  implement<packed_forward, packed_backward>(m, "gaussian_rsample_kl_packed", true);
}

}  // namespace genkern::gaussian_head_op
