// The Gaussian family on the CPU: what happens to one tile.
#pragma once

#include "cpu/noise.h"
#include "math/gaussian.h"

namespace genkern::GENKERN_ISA {

// q, p and the noise of a tile. kPlain: the scales are plain (math/scale.h) and p is N(0, I).
template <class T, bool kPlain>
struct HeadInputs {
  using F = Vec<T>;
  const GaussianHead& a;
  ScaleMap<F, kPlain> map;
  F temperature;
  Input<T> loc, scale, prior_loc, prior_scale;
  Eps<T> eps;

  explicit HeadInputs(const GaussianHead& a)
      : a(a),
        map(a.scale_options),
        temperature(T(a.temperature)),
        loc(a.loc),
        scale(a.scale),
        prior_loc(a.prior_loc),
        prior_scale(a.prior_scale),
        eps(a.noise, a.extent) {}

  void fetch(const Span& s) {
    loc.fetch(s);
    scale.fetch(s);
    if (kPlain) return;
    prior_loc.fetch(s);
    prior_scale.fetch(s);
  }
  GK_INLINE bool has_prior_scale() const { return !kPlain && prior_scale; }
  GK_INLINE F delta(int64_t i) const { return !kPlain && prior_loc ? loc[i] - prior_loc[i] : loc[i]; }
  GK_INLINE Divergence<F> kl(int64_t i, const Scale<F>& q) const {
    return has_prior_scale() ? divergence(map, q, delta(i), map(prior_scale[i])) : divergence(q, delta(i));
  }
};

template <class T, bool kPlain>
struct HeadForward {
  using F = Vec<T>;
  const GaussianHeadForward& a;
  HeadInputs<T, kPlain> in;
  Output<T> z;

  explicit HeadForward(const GaussianHeadForward& a) : a(a), in(a), z(a.z) {}

  void operator()(const Span& s, Values<T>& kl) {
    in.fetch(s);
    if (a.samples == 0) {
      for (int64_t i = 0; i < s.n; i += F::lanes) kl.set(i, floored(in.kl(i, in.map(in.scale[i]))));
      return;
    }
    // The first sample shares a pass with the divergence, whose exponentials are the same.
    sample(s, 0, [&](int64_t i, const Scale<F>& q) { kl.set(i, floored(in.kl(i, q))); });
    for (int64_t k = 1; k < a.samples; ++k) sample(s, k, [](int64_t, const Scale<F>&) {});
  }
  void operator()(const Span& s) {
    in.fetch(s);
    for (int64_t k = 0; k < a.samples; ++k) sample(s, k, [](int64_t, const Scale<F>&) {});
  }

 private:
  GK_INLINE F floored(const Divergence<F>& kl) const { return max(F(T(a.free_nats)), kl.value); }

  template <class Also>
  void sample(const Span& s, int64_t k, const Also& also) {
    in.eps.fetch(s, k);
    z.prepare(s, k * a.z_sample);
    for (int64_t i = 0; i < s.n; i += F::lanes) {
      const Scale<F> q = in.map(in.scale[i]);
      also(i, q);
      z.set(i, gaussian_sample(in.loc[i], q.sigma, in.temperature, in.eps[i]));
    }
    z.commit(s, k * a.z_sample);
  }
};

template <class T, bool kPlain>
struct HeadBackward {
  using F = Vec<T>;
  const GaussianHeadBackward& a;
  HeadInputs<T, kPlain> in;
  Input<T> grad_z, grad_kl;
  Output<T> d_loc, d_scale, d_prior_loc, d_prior_scale, d_eps;
  F factor, to_q, to_p, floor;
  Buffer<T> sum_z, sum_z_eps;  // over several samples

  explicit HeadBackward(const GaussianHeadBackward& a)
      : a(a),
        in(a),
        grad_z(a.grad_z),
        grad_kl(a.grad_kl),
        d_loc(a.d_loc),
        d_scale(a.d_scale),
        d_prior_loc(a.d_prior_loc),
        d_prior_scale(a.d_prior_scale),
        d_eps(a.d_eps),
        factor(T(a.kl_factor)),
        to_q(T(a.grad_scale_q)),
        to_p(T(a.grad_scale_p)),
        floor(T(a.free_nats)) {}

  void operator()(const Span& s) {
    in.fetch(s);
    grad_kl.fetch(s);
    d_loc.prepare(s);
    d_scale.prepare(s);
    if (!kPlain) d_prior_loc.prepare(s), d_prior_scale.prepare(s);
    if (!grad_z || a.samples == 0) {
      if (d_eps) no_eps(s);
      gradients(s, [](int64_t, const Scale<F>&, F&, F&) {});
    } else if (a.samples == 1) {
      fetch_sample(s, 0);
      if (d_eps) by_eps(s, 0);
      gradients(s, [&](int64_t i, const Scale<F>& q, F& loc, F& scale) {
        loc = grad_z[i];
        scale = loc * in.temperature * in.eps[i] * q.d_sigma;
      });
    } else {
      sum_samples(s);
      gradients(s, [&](int64_t i, const Scale<F>& q, F& loc, F& scale) {
        loc = F::load(sum_z.data + i);
        scale = F::load(sum_z_eps.data + i) * q.d_sigma;
      });
    }
    d_loc.commit(s);
    d_scale.commit(s);
    if (!kPlain) d_prior_loc.commit(s), d_prior_scale.commit(s);
  }

 private:
  // by_sample(i, q, loc, scale): sets the gradients through z, which are 0 before.
  template <class BySample>
  void gradients(const Span& s, const BySample& by_sample) {
    for (int64_t i = 0; i < s.n; i += F::lanes) {
      const Scale<F> q = in.map(in.scale[i]);
      F loc(T(0)), scale(T(0));
      by_sample(i, q, loc, scale);
      if (grad_kl) {
        const F delta = in.delta(i);
        if (in.has_prior_scale()) {
          const Scale<F> p = in.map(in.prior_scale[i]);
          const F by_p = add(divergence(in.map, q, delta, p), i, q, loc, scale);
          d_prior_scale.set(i, in.map.through_clamp(p, by_p * p.d_logvar));
        } else {
          add(divergence(q, delta), i, q, loc, scale);
        }
      } else if (!kPlain) {
        d_prior_loc.set(i, F(T(0)));
        d_prior_scale.set(i, F(T(0)));
      }
      d_loc.set(i, loc);
      d_scale.set(i, in.map.through_clamp(q, scale));
    }
  }

  // Adds the divergence's part for q and sets that of prior_loc; the gradient by p's log variance is returned.
  GK_INLINE F add(const Divergence<F>& kl, int64_t i, const Scale<F>& q, F& loc, F& scale) {
    F g = grad_kl[i] * factor;
    if (a.free_nats > 0.0) g = select(kl.value >= floor, g, F(T(0)));
    const DivergenceGradient<F> d = gradient(kl);
    const F g_q = to_q * g;
    loc = fma(g_q, d.loc, loc);
    scale = fma(g_q * d.logvar_q, q.d_logvar, scale);
    if (!kPlain) d_prior_loc.set(i, -(to_p * g * d.loc));
    return to_p * g * d.logvar_p;
  }

  void fetch_sample(const Span& s, int64_t k) {
    in.eps.fetch(s, k);
    grad_z.fetch(s, k * a.grad_z_sample);
  }
  void by_eps(const Span& s, int64_t k) {
    d_eps.prepare(s, k * a.d_eps_sample);
    for (int64_t i = 0; i < s.n; i += F::lanes) d_eps.set(i, grad_z[i] * in.temperature * in.map(in.scale[i]).sigma);
    d_eps.commit(s, k * a.d_eps_sample);
  }
  void no_eps(const Span& s) {
    for (int64_t k = 0; k < a.samples; ++k) {
      d_eps.prepare(s, k * a.d_eps_sample);
      for (int64_t i = 0; i < s.n; i += F::lanes) d_eps.set(i, F(T(0)));
      d_eps.commit(s, k * a.d_eps_sample);
    }
  }
  void sum_samples(const Span& s) {
    for (int64_t k = 0; k < a.samples; ++k) {
      fetch_sample(s, k);
      if (d_eps) by_eps(s, k);
      for (int64_t i = 0; i < s.n; i += F::lanes) {
        const F g = grad_z[i], with_eps = g * in.temperature * in.eps[i];
        (k == 0 ? g : F::load(sum_z.data + i) + g).store(sum_z.data + i);
        (k == 0 ? with_eps : F::load(sum_z_eps.data + i) + with_eps).store(sum_z_eps.data + i);
      }
    }
  }
};

// x and the parameters of a tile; a scale that is a number is the same as a tensor of that value everywhere.
template <class T, bool kPlain>
struct NllInputs {
  using F = Vec<T>;
  ScaleMap<F, kPlain> map;
  Input<T> x, loc, scale;
  F value;

  explicit NllInputs(const GaussianNll& a)
      : map(a.scale_options), x(a.x), loc(a.loc), scale(a.scale), value(T(a.scale_value)) {}

  void fetch(const Span& s) {
    x.fetch(s);
    loc.fetch(s);
    scale.fetch(s);
  }
  GK_INLINE Scale<F> sigma(int64_t i) const { return map(scale ? scale[i] : value); }
};

template <class T, bool kPlain>
struct NllForward {
  using F = Vec<T>;
  NllInputs<T, kPlain> in;
  F constant;

  explicit NllForward(const GaussianNllForward& a) : in(a), constant(T(a.full ? 0.5 * kLog2Pi : 0.0)) {}

  void operator()(const Span& s, Values<T>& nll) {
    in.fetch(s);
    for (int64_t i = 0; i < s.n; i += F::lanes) {
      const Scale<F> sigma = in.sigma(i);
      const F standard = (in.x[i] - in.loc[i]) * in.map.inverse_sigma(sigma);
      nll.set(i, gaussian_nll(standard, sigma.logvar) + constant);
    }
  }
};

// The gradient by scale is the tile's value: summed over rows where one scale serves a row.
template <class T, bool kPlain>
struct NllBackward {
  using F = Vec<T>;
  NllInputs<T, kPlain> in;
  Input<T> grad;
  F factor;
  Output<T> d_x, d_loc, d_scale;

  explicit NllBackward(const GaussianNllBackward& a)
      : in(a), grad(a.grad), factor(T(a.factor)), d_x(a.d_x), d_loc(a.d_loc), d_scale(a.d_scale) {}

  void operator()(const Span& s, Values<T>& d_scale_sum) {
    gradients(s, [&](int64_t i, F value) { d_scale_sum.set(i, value); });
  }
  void operator()(const Span& s) {
    d_scale.prepare(s);
    gradients(s, [&](int64_t i, F value) { d_scale.set(i, value); });
    d_scale.commit(s);
  }

 private:
  template <class Set>
  void gradients(const Span& s, const Set& set) {
    in.fetch(s);
    grad.fetch(s);
    d_x.prepare(s);
    d_loc.prepare(s);
    for (int64_t i = 0; i < s.n; i += F::lanes) {
      const Scale<F> sigma = in.sigma(i);
      const F inverse = in.map.inverse_sigma(sigma), g = grad[i] * factor;
      const F standard = (in.x[i] - in.loc[i]) * inverse, by_x = g * standard * inverse;
      d_x.set(i, by_x);
      d_loc.set(i, -by_x);
      set(i, in.map.through_clamp(sigma, F(T(0.5)) * g * (F(T(1)) - standard * standard) * sigma.d_logvar));
    }
    d_x.commit(s);
    d_loc.commit(s);
  }
};

template <class T>
struct EntropyForward {
  using F = Vec<T>;
  ScaleMap<F> map;
  Input<T> scale;

  explicit EntropyForward(const GaussianEntropyForward& a) : map(a.scale_options), scale(a.scale) {}

  void operator()(const Span& s, Values<T>& entropy) {
    scale.fetch(s);
    for (int64_t i = 0; i < s.n; i += F::lanes) entropy.set(i, gaussian_entropy(map(scale[i]).logvar));
  }
};

template <class T>
struct EntropyBackward {
  using F = Vec<T>;
  ScaleMap<F> map;
  Input<T> scale, grad;
  F factor;
  Output<T> d_scale;

  explicit EntropyBackward(const GaussianEntropyBackward& a)
      : map(a.scale_options), scale(a.scale), grad(a.grad), factor(T(0.5 * a.factor)), d_scale(a.d_scale) {}

  void operator()(const Span& s) {
    scale.fetch(s);
    grad.fetch(s);
    d_scale.prepare(s);
    for (int64_t i = 0; i < s.n; i += F::lanes) {
      const Scale<F> sigma = map(scale[i]);
      d_scale.set(i, map.through_clamp(sigma, grad[i] * factor * sigma.d_logvar));
    }
    d_scale.commit(s);
  }
};

// f(T(), plain) with the type of arithmetic; float kernels are compiled apart for plain arguments.
template <class F>
void with_type(bool wide, bool plain, const F& f) {
  if (wide) return f(double(), std::false_type());
  plain ? f(float(), std::true_type()) : f(float(), std::false_type());
}

inline bool is_plain(const GaussianHead& a) { return is_plain(a.scale_options) && !a.prior_loc && !a.prior_scale; }

inline void gaussian_head_forward(const GaussianHeadForward& a, double* workspace, Parallel parallel) {
  with_type(a.wide, is_plain(a), [&](auto t, auto plain) {
    using T = decltype(t);
    using Tile = HeadForward<T, decltype(plain)::value>;
    a.divergence ? reduce<T, Tile>(a, a.kl, workspace, parallel) : map<Tile>(a, parallel);
  });
}

inline void gaussian_head_backward(const GaussianHeadBackward& a, Parallel parallel) {
  with_type(a.wide, is_plain(a),
            [&](auto t, auto plain) { map<HeadBackward<decltype(t), decltype(plain)::value>>(a, parallel); });
}

inline void gaussian_nll_forward(const GaussianNllForward& a, double* workspace, Parallel parallel) {
  with_type(a.wide, is_plain(a.scale_options), [&](auto t, auto plain) {
    using T = decltype(t);
    reduce<T, NllForward<T, decltype(plain)::value>>(a, a.nll, workspace, parallel);
  });
}

inline void gaussian_nll_backward(const GaussianNllBackward& a, double* workspace, Parallel parallel) {
  with_type(a.wide, is_plain(a.scale_options), [&](auto t, auto plain) {
    using T = decltype(t);
    using Tile = NllBackward<T, decltype(plain)::value>;
    a.d_scale_sum.out ? reduce<T, Tile>(a, a.d_scale_sum, workspace, parallel) : map<Tile>(a, parallel);
  });
}

inline void gaussian_entropy_forward(const GaussianEntropyForward& a, double* workspace, Parallel parallel) {
  with_type(a.wide, false, [&](auto t, auto) {
    using T = decltype(t);
    reduce<T, EntropyForward<T>>(a, a.entropy, workspace, parallel);
  });
}

inline void gaussian_entropy_backward(const GaussianEntropyBackward& a, Parallel parallel) {
  with_type(a.wide, false, [&](auto t, auto) { map<EntropyBackward<decltype(t)>>(a, parallel); });
}

}  // namespace genkern::GENKERN_ISA
