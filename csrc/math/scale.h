// What a raw scale stands for: clamp, then parameterisation, then offset (docs/numerics.md).
#pragma once

#include "math/numeric.h"
#include "math/options.h"

namespace genkern {

// A scale made explicit, with derivatives by the clamped raw value. What a formula leaves unused costs nothing.
template <class F>
struct Scale {
  F sigma, logvar;
  HalfExpm1<F> variance;  // of logvar: half of sigma^2 - 1 - logvar and of sigma^2 - 1
  F d_sigma, d_logvar;
  F slope;  // of the clamp
};

// What nearly every model uses, and what a kernel can be compiled for: log variance, no offset, no clamp.
GK_INLINE bool is_plain(const ScaleOptions& o) {
  return o.param == ScaleParam::logvar && o.offset == 0.0 && o.clamp == ClampMode::none;
}

template <class F, bool kPlain = false>
struct ScaleMap {
  GK_INLINE explicit ScaleMap(const ScaleOptions& o)
      : param_(o.param),
        mode_(o.clamp),
        has_offset_(o.offset != 0.0),
        offset_(F(scalar_t<F>(o.offset))),
        lo_(F(scalar_t<F>(o.lo))),
        hi_(F(scalar_t<F>(o.hi))) {}

  GK_INLINE Scale<F> operator()(F raw) const {
    if (kPlain || mode_ == ClampMode::none) return unclamped(raw);
    F slope = F(1);
    raw = clamp(raw, slope);
    Scale<F> s = unclamped(raw);
    s.slope = slope;
    return s;
  }

  // A gradient by the clamped raw value, taken back through the clamp: 0 where that is flat, whatever came.
  GK_INLINE F through_clamp(const Scale<F>& s, F gradient) const {
    if (kPlain || mode_ == ClampMode::none) return gradient;
    return select(s.slope == F(0), F(0), gradient * s.slope);
  }

  // A gradient by log sigma^2, taken back to the clamped raw value. The derivative may overflow where the product does
  // not.
  GK_INLINE F by_clamped(const Scale<F>& s, F by_logvar) const {
    if (kPlain) return by_logvar;
    const F product = by_logvar * s.d_logvar;
    if (logarithmic()) return product;
    const F careful = select(abs(s.d_logvar) <= F(kLargest<F>), product, F(2) * by_logvar * s.d_sigma / s.sigma);
    return select(by_logvar == F(0), F(0), careful);
  }
  // The same, to the raw value.
  GK_INLINE F by_raw(const Scale<F>& s, F by_logvar) const { return through_clamp(s, by_clamped(s, by_logvar)); }

  // 1 / sigma, without a division where the exponent need only change its sign, and without sigma where that overflows.
  GK_INLINE F inverse_sigma(const Scale<F>& s) const {
    if (logarithmic()) return exp(F(-0.5f) * s.logvar);
    const F inverse = F(1) / s.sigma;
    return has_exponential() ? select(inverse == F(0), exp(F(-0.5f) * s.logvar), inverse) : inverse;
  }

  // log(sigma_q^2 / sigma_p^2), accurate where the two are nearly equal.
  GK_INLINE F log_variance_ratio(const Scale<F>& q, const Scale<F>& p) const {
    if (logarithmic()) return q.logvar - p.logvar;
    const F relative = (q.sigma - p.sigma) / p.sigma;
    const F ratio = F(2) * select(abs(relative) < F(0.5f), log1p(relative), log(q.sigma / p.sigma));
    const F larger = max(q.sigma, p.sigma), difference = q.logvar - p.logvar;
    if (param_ == ScaleParam::softplus && !has_offset_) return select(larger < F(4e-18f), difference, ratio);
    if (has_exponential()) return select(larger > F(kLargest<F>), difference, ratio);
    return ratio;
  }

 private:
  ScaleParam param_;
  ClampMode mode_;
  bool has_offset_;
  F offset_, lo_, hi_;

  // Whether log sigma^2 is linear in the raw value.
  GK_INLINE bool logarithmic() const { return kPlain || (!has_offset_ && has_exponential()); }
  GK_INLINE bool has_exponential() const { return param_ == ScaleParam::logvar || param_ == ScaleParam::logstd; }

  GK_INLINE F clamp(F x, F& slope) const {
    switch (mode_) {
      case ClampMode::hard:
        slope = select(x < lo_, F(0), select(x > hi_, F(0), F(1)));  // 1 where x is NaN, which stays NaN
        return min(hi_, max(lo_, x));
      case ClampMode::straight_through:
        return min(hi_, max(lo_, x));
      case ClampMode::softclip:
        slope = sigmoid(x - lo_);
        return lo_ + softplus(x - lo_);
      case ClampMode::tanh: {
        const Tanh<F> t = tanh_terms(x / hi_);
        slope = t.slope;
        return hi_ * t.value;
      }
      case ClampMode::none:
        break;
    }
    return x;
  }

  GK_INLINE Scale<F> unclamped(F raw) const {
    Scale<F> s;
    switch (kPlain ? ScaleParam::logvar : param_) {
      case ScaleParam::logvar: {
        const ExpRoot<F> e = exp_root_terms(raw);
        s.sigma = e.root;
        s.variance = {e.minus_x, e.value};
        s.d_sigma = F(0.5f) * s.sigma;
        s.logvar = raw;
        s.d_logvar = F(1);
        break;
      }
      case ScaleParam::logstd:
        s.sigma = exp(raw);
        s.d_sigma = s.sigma;
        s.logvar = F(2) * raw;
        s.d_logvar = F(2);
        break;
      case ScaleParam::std:
        s.sigma = raw + F(0);  // -0 is 0, whose reciprocal is not negative
        s.d_sigma = F(1);
        break;
      case ScaleParam::var:
        s.sigma = sqrt(raw + F(0));
        s.d_sigma = F(0.5f) / s.sigma;
        break;
      case ScaleParam::softplus:
        s.sigma = softplus(raw);
        s.d_sigma = sigmoid(raw);
        break;
    }
    if (!logarithmic()) {
      if (has_offset_) s.sigma = s.sigma + offset_;
      const bool direct = param_ == ScaleParam::var && !has_offset_;
      s.logvar = direct ? log(raw) : F(2) * log(s.sigma);
      s.d_logvar = F(2) * s.d_sigma / s.sigma;
      // Where sigma is an exponential alone, its logarithm needs no sigma: far out in softplus, and where an offset is
      // nothing beside what is beyond the range.
      const auto alone = [&](auto exponential, F times) {
        s.logvar = select(exponential, times * raw, s.logvar);
        s.d_logvar = select(exponential, times, s.d_logvar);
      };
      if (param_ == ScaleParam::softplus && !has_offset_) alone(raw < F(-40), F(2));
      if (param_ == ScaleParam::logvar) alone(raw > F(2) * F(kLogLargest<F>), F(1));
      if (param_ == ScaleParam::logstd) alone(raw > F(kLogLargest<F>), F(2));
    }
    if (!kPlain && !(logarithmic() && param_ == ScaleParam::logvar)) s.variance = half_expm1(s.logvar);
    return s;
  }
};

}  // namespace genkern
