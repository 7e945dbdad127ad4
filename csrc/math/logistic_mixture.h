// A mixture of discretized logistics, an element at a time (Salimans et al. 2017, PixelCNN++; derivations:
// docs/numerics.md).
#pragma once

#include "math/numeric.h"

namespace genkern {

// A bin, from a to b = a + gap in units of the scale. An end that is at infinity is so far away that no exponential is
// left of it.
template <class F>
struct LogisticBin {
  F a, b, gap;
};

template <class F>
GK_INLINE LogisticBin<F> logistic_bin(F x, F mean, F inverse_scale, F half, F below, F above) {
  using T = scalar_t<F>;
  const auto low = x<below, high = x> above;
  const F centre = (x - mean) * inverse_scale, width = half * inverse_scale;
  return {select(low, F(T(-1e30)), centre - width), select(high, F(T(1e30)), centre + width),
          select(low, F(T(1000)), select(high, F(T(1000)), width + width))};
}

// log(sigmoid(b) - sigmoid(a)) = log sigmoid(b) + log sigmoid(-a) + log(1 - exp(-gap)), its derivative by the centre of
// the bin, sigmoid(-b) - sigmoid(a), and that by the logarithm of the scale, a sigmoid(a) - b sigmoid(-b) - gap /
// (exp(gap) - 1).
template <class F>
struct LogisticMass {
  F log, by_centre, by_log_scale;
};

template <class F>
GK_INLINE LogisticMass<F> logistic_mass(const LogisticBin<F>& bin) {
  const F e_a = tail_exp(-abs(bin.a)), e_b = tail_exp(-abs(bin.b));
  const ExpRoot<F> fall = tail_root_terms(-bin.gap);
  const F ratio = fall.root * fall.root, fallen = -fall.square.value;
  // log(1 - ratio): near 0 from the accurate difference, else as log1p(-ratio), by the factor that undoes a rounding.
  const F rounded = F(1) - ratio;
  const auto near = bin.gap < F(0.7f);
  const F logarithm = log(select(near, fallen, rounded));
  const F far = select(rounded == F(1), -ratio, logarithm * (ratio / (F(1) - rounded)));
  const F log_gap = select(near, logarithm, far);
  const F tails = min(bin.b, F(0)) - max(bin.a, F(0)) - log1p(fma(e_a, e_b, e_a + e_b));
  const F beyond = select(bin.b < F(0), F(1), e_b) / (F(1) + e_b);
  const F before = select(bin.a < F(0), e_a, F(1)) / (F(1) + e_a);
  const F by_gap = select(bin.gap == F(0), F(1), bin.gap * ratio / fallen);  // gap / (exp(gap) - 1)
  return {tails + log_gap, beyond - before, fma(bin.a, before, -(bin.b * beyond)) - by_gap};
}

// The logarithm of a sum of w_m mass_m with w = softmax(logits), a component after the other: the largest logit so far,
// the sum of exp(logit - it), and the same of the terms, whose largest is kept relative to that logit, so that large
// logits cost no digits.
template <class F>
struct MixtureSum {
  F top_logit, logits, top, terms;

  // Finite, where -infinity would make nan of a component without mass.
  static GK_INLINE F lowest() {
    return F(scalar_t<F>(sizeof(scalar_t<F>) == 8 ? -1.7976931348623157e308 : -3.4028234663852886e38));
  }
  static GK_INLINE MixtureSum none() { return {lowest(), F(0), lowest(), F(0)}; }

  GK_INLINE void add(F logit, F log_mass) {
    const F step = logit - top_logit, fall = tail_exp(-abs(step));
    const auto higher = step > F(0);
    logits = select(higher, fma(logits, fall, F(1)), logits + fall);
    const F highest = max(top_logit, logit);
    const F kept = max(lowest(), top - (highest - top_logit)), term = logit - highest + log_mass;
    const F term_step = term - kept, term_fall = tail_exp(-abs(term_step));
    terms = select(term_step > F(0), fma(terms, term_fall, F(1)), terms + term_fall);
    top = max(kept, term);
    top_logit = highest;
  }

  GK_INLINE F nll() const { return log(logits / terms) - top; }
  GK_INLINE F weight(F logit) const { return tail_exp(logit - top_logit) / logits; }
  GK_INLINE F posterior(F logit, F log_mass) const { return tail_exp(logit - top_logit + log_mass - top) / terms; }
};

}  // namespace genkern
