// What a raw scale stands for: clamp, then parameterisation, then offset (docs/numerics.md).
#pragma once

#include "math/numeric.h"
#include "math/options.h"

namespace genkern {

// A scale made explicit, with derivatives by the raw value. What a formula leaves unused costs nothing.
template <class F>
struct Scale {
  F raw;  // clamped
  F sigma, logvar;
  F d_sigma, d_logvar;
};

template <class F>
struct ScaleMap {
  ScaleParam param;
  ClampMode mode;
  bool logarithmic;  // log sigma^2 is linear in the raw value
  bool has_offset;
  F offset, lo, hi;

  GK_INLINE explicit ScaleMap(const ScaleOptions& o)
      : param(o.param),
        mode(o.clamp),
        logarithmic(o.offset == 0.0 && (o.param == ScaleParam::logvar || o.param == ScaleParam::logstd)),
        has_offset(o.offset != 0.0),
        offset(F(scalar_t<F>(o.offset))),
        lo(F(scalar_t<F>(o.lo))),
        hi(F(scalar_t<F>(o.hi))) {}

  GK_INLINE Scale<F> operator()(F raw) const {
    F slope = F(1);
    if (mode != ClampMode::none) raw = clamp(raw, slope);
    Scale<F> s = unclamped(raw);
    if (mode != ClampMode::none) {
      s.d_sigma = s.d_sigma * slope;
      s.d_logvar = s.d_logvar * slope;
    }
    return s;
  }

  // 1 / sigma, without a division where the exponent need only change its sign.
  GK_INLINE F inverse_sigma(const Scale<F>& s) const {
    return logarithmic ? exp(F(-0.5f) * s.logvar) : F(1) / s.sigma;
  }

  // log(sigma_q^2 / sigma_p^2), accurate where the two are nearly equal.
  GK_INLINE F log_variance_ratio(const Scale<F>& q, const Scale<F>& p) const {
    if (logarithmic) return q.logvar - p.logvar;
    const F relative = (q.sigma - p.sigma) / p.sigma;
    return F(2) * select(abs(relative) < F(0.5f), log1p(relative), log(q.sigma / p.sigma));
  }

 private:
  GK_INLINE F clamp(F x, F& slope) const {
    switch (mode) {
      case ClampMode::hard:
        slope = select(x >= lo, select(x <= hi, F(1), F(0)), F(0));
        return min(hi, max(lo, x));
      case ClampMode::straight_through:
        return min(hi, max(lo, x));
      case ClampMode::softclip:
        slope = sigmoid(x - lo);
        return lo + softplus(x - lo);
      case ClampMode::tanh: {
        const Tanh<F> t = tanh_terms(x / hi);
        slope = t.slope;
        return hi * t.value;
      }
      case ClampMode::none:
        break;
    }
    return x;
  }

  GK_INLINE Scale<F> unclamped(F raw) const {
    Scale<F> s;
    s.raw = raw;
    switch (param) {
      case ScaleParam::logvar:
        s.sigma = exp(F(0.5f) * raw);
        s.d_sigma = F(0.5f) * s.sigma;
        s.logvar = raw;
        s.d_logvar = F(1);
        break;
      case ScaleParam::logstd:
        s.sigma = exp(raw);
        s.d_sigma = s.sigma;
        s.logvar = F(2) * raw;
        s.d_logvar = F(2);
        break;
      case ScaleParam::std:
        s.sigma = raw;
        s.d_sigma = F(1);
        break;
      case ScaleParam::var:
        s.sigma = sqrt(raw);
        s.d_sigma = F(0.5f) / s.sigma;
        break;
      case ScaleParam::softplus:
        s.sigma = softplus(raw);
        s.d_sigma = sigmoid(raw);
        break;
    }
    if (!logarithmic) {
      if (has_offset) s.sigma = s.sigma + offset;
      const bool direct = param == ScaleParam::var && !has_offset;
      s.logvar = direct ? log(raw) : F(2) * log(s.sigma);
      s.d_logvar = F(2) * s.d_sigma / s.sigma;
    }
    return s;
  }
};

}  // namespace genkern
