// A mixture of discretized logistics: what happens to one tile of pixels. Parameters are read component by component;
// backward computes the masses again instead of keeping them.
#pragma once

#include "kernels.h"
#include "math/logistic_mixture.h"

namespace genkern {

GK_INLINE std::true_type is_plain(const LogisticMixture&) { return {}; }

// The sums of a tile's pixels.
template <class E>
struct MixtureSums {
  using F = typename E::F;
  typename E::Scratch top_logit, logits, top, terms;

  GK_DEVICE MixtureSum<F> operator[](int64_t i) const { return {top_logit[i], logits[i], top[i], terms[i]}; }
  GK_DEVICE void set(int64_t i, const MixtureSum<F>& sum) {
    top_logit.set(i, sum.top_logit);
    logits.set(i, sum.logits);
    top.set(i, sum.top);
    terms.set(i, sum.terms);
  }
  // Over all components of the inputs.
  template <class Inputs>
  GK_DEVICE void fetch(const typename E::Span& s, Inputs& in) {
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) top_logit.set(i, MixtureSum<F>::lowest());
    GK_NO_UNROLL
    for (int64_t m = 0; m < in.mixtures; ++m) {
      in.fetch_logit(s, m);
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) top_logit.set(i, max(top_logit[i], F(in.logit[i])));
    }
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) set(i, MixtureSum<F>::none(top_logit[i]));
    GK_NO_UNROLL
    for (int64_t m = 0; m < in.mixtures; ++m) {
      in.fetch(s, m);
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) add(i, in.logit[i], in.log_mass(i));
    }
  }
  GK_DEVICE void add(int64_t i, F logit, F log_mass) {
    MixtureSum<F> sum = (*this)[i];
    sum.add(logit, log_mass);
    set(i, sum);
  }
  GK_DEVICE void prepare_shares(int64_t i) { set(i, (*this)[i].for_shares()); }
};

// The bin that a value lies in, for a mean and a raw log-scale; what was clamped receives no gradient.
template <class F>
struct LogisticBins {
  using T = scalar_t<F>;
  const LogisticMixture& a;
  F half{T(a.bins.half)}, below{T(a.bins.below)}, above{T(a.bins.above)}, min_log_scale{T(a.min_log_scale)},
      log_width{T(a.bins.log_half + kLog2)};

  GK_DEVICE explicit LogisticBins(const LogisticMixture& a) : a(a) {}

  GK_DEVICE F through_clamp(F log_scale, F gradient) const { return select(log_scale < min_log_scale, F(0), gradient); }
  GK_DEVICE LogisticMass<F> mass(F x, F mean, F log_scale) const {
    const F clamped = max(min_log_scale, log_scale), inverse = exp(-clamped);
    return logistic_mass(logistic_bin(x, mean, inverse, half, below, above), inverse, log_width - clamped);
  }
};

template <template <class> class Inputs>
struct LogisticMixtureTiles {
  template <class E>
  struct Forward {
    static constexpr int kMostElements = 4;
    Inputs<E> in;
    MixtureSums<E> sums;

    GK_DEVICE explicit Forward(const LogisticMixtureForward& a) : in(a) {}

    GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* nll) {
      in.fetch(s);
      sums.fetch(s, in);
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) nll->set(i, sums[i].nll());
    }
  };
};

// Three colours, each moved by those before it: in params, behind the M logits, M means, log-scales and coefficients of
// each.
template <class E>
struct RgbInputs {
  using F = typename E::F;
  const LogisticMixture& a;
  LogisticBins<F> bins{a};
  typename E::Input x[3]{a.x, a.x, a.x}, logit{a.params}, mean[3]{a.params, a.params, a.params},
      log_scale[3]{a.params, a.params, a.params}, coefficient[3]{a.params, a.params, a.params};
  int64_t mixtures{a.mixtures}, x_channel{a.x_channel}, params_channel{a.params_channel};

  GK_DEVICE explicit RgbInputs(const LogisticMixture& a) : a(a) {}

  GK_DEVICE void fetch(const typename E::Span& s) {
    GK_UNROLL
    for (int c = 0; c < 3; ++c) x[c].fetch(s, c * x_channel);
  }
  GK_DEVICE void fetch_logit(const typename E::Span& s, int64_t m) { logit.fetch(s, m * params_channel); }
  GK_DEVICE void fetch(const typename E::Span& s, int64_t m) {
    int64_t at = m * params_channel;
    logit.fetch(s, at);
    GK_UNROLL
    for (int c = 0; c < 3; ++c) {
      mean[c].fetch(s, at += mixtures * params_channel);
      log_scale[c].fetch(s, at += mixtures * params_channel);
      coefficient[c].fetch(s, at += mixtures * params_channel);
    }
  }

  // The masses of the three values, and what moved their means.
  struct Colours {
    LogisticMass<F> mass[3];
    Tanh<F> by[3];  // of green by red, of blue by red, of blue by green

    GK_DEVICE F log_mass() const { return mass[0].log + mass[1].log + mass[2].log; }
  };
  GK_DEVICE Colours colours(int64_t i) const {
    Colours k;
    GK_UNROLL
    for (int c = 0; c < 3; ++c) k.by[c] = tanh_terms(F(coefficient[c][i]));
    const F red = x[0][i], green = x[1][i];
    const F means[3] = {mean[0][i], fma(k.by[0].value, red, mean[1][i]),
                        fma(k.by[2].value, green, fma(k.by[1].value, red, mean[2][i]))};
    GK_UNROLL
    for (int c = 0; c < 3; ++c) k.mass[c] = bins.mass(x[c][i], means[c], log_scale[c][i]);
    return k;
  }
  GK_DEVICE F log_mass(int64_t i) const { return colours(i).log_mass(); }
};

template <class E>
struct RgbLogisticMixtureBackwardTile {
  static constexpr int kMostElements = 2;  // the gradients of three colours under a component are many registers
  using F = typename E::F;
  using T = typename E::T;
  using Span = typename E::Span;
  const LogisticMixtureBackward& a;
  RgbInputs<E> in{a};
  MixtureSums<E> sums;
  typename E::LossInput grad{a.grad};
  F factor{T(a.factor)};
  typename E::Output d_logit{a.d_params}, d_mean[3]{a.d_params, a.d_params, a.d_params},
      d_log_scale[3]{a.d_params, a.d_params, a.d_params}, d_coefficient[3]{a.d_params, a.d_params, a.d_params},
      d_x[3]{a.d_x, a.d_x, a.d_x};
  typename E::Scratch sum_x[3];
  int64_t d_x_channel{a.d_x_channel}, d_params_channel{a.d_params_channel};

  GK_DEVICE explicit RgbLogisticMixtureBackwardTile(const LogisticMixtureBackward& a) : a(a) {}

  GK_DEVICE void operator()(const Span& s) {
    in.fetch(s);
    grad.fetch(s);
    sums.fetch(s, in);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
      sums.prepare_shares(i);
      GK_UNROLL
      for (int c = 0; c < 3; ++c) sum_x[c].set(i, F(T(0)));
    }
    GK_NO_UNROLL
    for (int64_t m = 0; m < in.mixtures; ++m) {
      in.fetch(s, m);
      each_output(m, [&](auto& output, int64_t shift) { output.prepare(s, shift); });
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) component(i);
      each_output(m, [&](auto& output, int64_t shift) { output.commit(s, shift); });
    }
    GK_UNROLL
    for (int c = 0; c < 3; ++c) {
      d_x[c].prepare(s, c * d_x_channel);
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) d_x[c].set(i, sum_x[c][i]);
      d_x[c].commit(s, c * d_x_channel);
    }
  }

 private:
  template <class Use>
  GK_DEVICE void each_output(int64_t m, const Use& use) {
    int64_t at = m * d_params_channel;
    use(d_logit, at);
    GK_UNROLL
    for (int c = 0; c < 3; ++c) {
      use(d_mean[c], at += in.mixtures * d_params_channel);
      use(d_log_scale[c], at += in.mixtures * d_params_channel);
      use(d_coefficient[c], at += in.mixtures * d_params_channel);
    }
  }

  GK_DEVICE void component(int64_t i) {
    const typename RgbInputs<E>::Colours k = in.colours(i);
    const MixtureSum<F> sum = sums[i];
    const F g = grad[i] * factor, logit = in.logit[i];
    const F posterior = sum.posterior(logit, k.log_mass()), share = g * posterior;
    d_logit.set(i, g * (sum.weight(logit) - posterior));
    F by_mean[3];
    GK_UNROLL
    for (int c = 0; c < 3; ++c) {
      by_mean[c] = share * k.mass[c].by_x;
      d_mean[c].set(i, by_mean[c]);
      d_log_scale[c].set(i, in.bins.through_clamp(in.log_scale[c][i], -(share * k.mass[c].by_log_scale)));
    }
    const F red = in.x[0][i], green = in.x[1][i];
    d_coefficient[0].set(i, by_mean[1] * red * k.by[0].slope);
    d_coefficient[1].set(i, by_mean[2] * red * k.by[1].slope);
    d_coefficient[2].set(i, by_mean[2] * green * k.by[2].slope);
    const F moved = fma(k.by[0].value, by_mean[1], k.by[1].value * by_mean[2]);
    sum_x[0].set(i, sum_x[0][i] + (moved - by_mean[0]));
    sum_x[1].set(i, sum_x[1][i] + fma(k.by[2].value, by_mean[2], -by_mean[1]));
    sum_x[2].set(i, sum_x[2][i] - by_mean[2]);
  }
};

// Any number of channels, which share the component and nothing else: in params, behind the M logits, M means and
// log-scales of each.
template <class E>
struct ChannelInputs {
  using F = typename E::F;
  const LogisticMixture& a;
  LogisticBins<F> bins{a};
  typename E::Input x{a.x}, logit{a.params}, mean{a.params}, log_scale{a.params};
  typename E::Scratch of_pixel;
  int64_t mixtures{a.mixtures}, channels{a.channels}, x_channel{a.x_channel}, params_channel{a.params_channel};

  GK_DEVICE explicit ChannelInputs(const LogisticMixture& a) : a(a) {}

  GK_DEVICE void fetch(const typename E::Span&) {}  // of x: channel by channel
  GK_DEVICE int64_t before(int64_t c) const { return mixtures * (1 + 2 * c); }

  GK_DEVICE void fetch(const typename E::Span& s, int64_t m, int64_t c) {
    x.fetch(s, c * x_channel);
    mean.fetch(s, (before(c) + m) * params_channel);
    log_scale.fetch(s, (before(c) + mixtures + m) * params_channel);
  }
  GK_DEVICE LogisticMass<F> mass(int64_t i) const { return bins.mass(x[i], mean[i], log_scale[i]); }

  GK_DEVICE void fetch_logit(const typename E::Span& s, int64_t m) { logit.fetch(s, m * params_channel); }
  // The logit of a component, and log_mass of the pixel's values under it.
  GK_DEVICE void fetch(const typename E::Span& s, int64_t m) {
    fetch_logit(s, m);
    GK_NO_UNROLL
    for (int64_t c = 0; c < channels; ++c) {
      fetch(s, m, c);
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
        const F value = mass(i).log;
        of_pixel.set(i, c == 0 ? value : of_pixel[i] + value);
      }
    }
  }
  GK_DEVICE F log_mass(int64_t i) const { return of_pixel[i]; }
};

// The gradient by x goes over all components once more for each channel: it is seldom asked for.
template <class E>
struct ChannelLogisticMixtureBackwardTile {
  static constexpr int kMostElements = 4;
  using F = typename E::F;
  using T = typename E::T;
  using Span = typename E::Span;
  const LogisticMixtureBackward& a;
  ChannelInputs<E> in{a};
  MixtureSums<E> sums;
  typename E::LossInput grad{a.grad};
  F factor{T(a.factor)};
  typename E::Output d_logit{a.d_params}, d_mean{a.d_params}, d_log_scale{a.d_params}, d_x{a.d_x};
  typename E::Scratch share, sum_x;  // of a component in the gradient; of the gradient by x
  int64_t d_x_channel{a.d_x_channel}, d_params_channel{a.d_params_channel};

  GK_DEVICE explicit ChannelLogisticMixtureBackwardTile(const LogisticMixtureBackward& a) : a(a) {}

  GK_DEVICE void operator()(const Span& s) {
    grad.fetch(s);
    sums.fetch(s, in);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) sums.prepare_shares(i);
    GK_NO_UNROLL
    for (int64_t m = 0; d_logit && m < in.mixtures; ++m) by_params(s, m);
    GK_NO_UNROLL
    for (int64_t c = 0; d_x && c < in.channels; ++c) by_x(s, c);
  }

 private:
  GK_DEVICE void by_params(const Span& s, int64_t m) {
    in.fetch(s, m);
    d_logit.prepare(s, m * d_params_channel);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
      const MixtureSum<F> sum = sums[i];
      const F g = grad[i] * factor, logit = in.logit[i];
      const F posterior = sum.posterior(logit, in.log_mass(i));
      share.set(i, g * posterior);
      d_logit.set(i, g * (sum.weight(logit) - posterior));
    }
    d_logit.commit(s, m * d_params_channel);
    GK_NO_UNROLL
    for (int64_t c = 0; c < in.channels; ++c) {
      const int64_t to_mean = (in.before(c) + m) * d_params_channel;
      const int64_t to_log_scale = (in.before(c) + in.mixtures + m) * d_params_channel;
      in.fetch(s, m, c);
      d_mean.prepare(s, to_mean);
      d_log_scale.prepare(s, to_log_scale);
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
        const LogisticMass<F> mass = in.mass(i);
        d_mean.set(i, share[i] * mass.by_x);
        d_log_scale.set(i, in.bins.through_clamp(in.log_scale[i], -(share[i] * mass.by_log_scale)));
      }
      d_mean.commit(s, to_mean);
      d_log_scale.commit(s, to_log_scale);
    }
  }

  GK_DEVICE void by_x(const Span& s, int64_t c) {
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) sum_x.set(i, F(T(0)));
    GK_NO_UNROLL
    for (int64_t m = 0; m < in.mixtures; ++m) {
      in.fetch(s, m);
      in.fetch(s, m, c);
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
        const F posterior = sums[i].posterior(in.logit[i], in.log_mass(i));
        sum_x.set(i, sum_x[i] - grad[i] * factor * posterior * in.mass(i).by_x);
      }
    }
    d_x.prepare(s, c * d_x_channel);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) d_x.set(i, sum_x[i]);
    d_x.commit(s, c * d_x_channel);
  }
};

}  // namespace genkern
