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

// log(sigmoid(b) - sigmoid(a)) = log sigmoid(b) + log sigmoid(-a) + log(1 - exp(-gap)), its derivative by x,
// (sigmoid(-b) - sigmoid(a)) / scale, and that by the logarithm of the scale, a sigmoid(a) - b sigmoid(-b) - gap /
// (exp(gap) - 1).
template <class F>
struct LogisticMass {
  F log, by_x, by_log_scale;
};

// log_width is the logarithm of the gap, which counts where the bin is so narrow that the gap has lost its digits.
template <class F>
GK_INLINE LogisticMass<F> logistic_mass(const LogisticBin<F>& bin, F inverse_scale, F log_width) {
  const F e_a = tail_exp(-abs(bin.a)), e_b = tail_exp(-abs(bin.b));
  const ExpRoot<F> fall = tail_root_terms(-bin.gap);
  const F ratio = fall.root * fall.root, fallen = F(-2) * fall.value;
  // log(1 - ratio): near 0 from the accurate difference, else as log1p(-ratio), by the factor that undoes a rounding.
  const F rounded = F(1) - ratio;
  const auto near = bin.gap < F(0.7f);
  const F logarithm = log(select(near, fallen, rounded));
  const F far = select(rounded == F(1), -ratio, logarithm * (ratio / (F(1) - rounded)));
  const auto narrow = bin.gap < F(kNegligible<F>);
  const F log_gap = select(narrow, log_width, select(near, logarithm, far));
  const F tails = min(bin.b, F(0)) - max(bin.a, F(0)) - log1p(fma(e_a, e_b, e_a + e_b));
  const F beyond = select(bin.b < F(0), F(1), e_b) / (F(1) + e_b);
  const F before = select(bin.a < F(0), e_a, F(1)) / (F(1) + e_a);
  const F by_gap = select(narrow, F(1), bin.gap * ratio / fallen);  // gap / (exp(gap) - 1)
  // Numbers, whose products with a share of 0 are 0; the logarithm of such a mass is infinite.
  const F most(kLargest<F>), a = within(bin.a, most), b = within(bin.b, most);
  return {tails + log_gap, (beyond - before) * inverse_scale, fma(a, before, -(b * beyond)) - by_gap};
}

// The logarithm of a sum of w_m mass_m with w = softmax(logits), a component after the other: the sum of exp(logit -
// top_logit), and that of exp(term - top) with term = logit - top_logit + log mass, which costs large logits no digits.
// top_logit is the largest logit of all, known before, and top the largest term so far; so a term is the same number
// whenever it is computed, and the posteriors add up to 1 in whatever order the components come.
template <class F>
struct MixtureSum {
  F top_logit, logits, top, terms;

  // Finite, where -infinity would make nan of a component without mass.
  static GK_INLINE F lowest() { return F(-kLargest<F>); }
  static GK_INLINE MixtureSum none(F top_logit) { return {top_logit, F(0), lowest(), F(0)}; }

  GK_INLINE F term(F logit, F log_mass) const { return logit - top_logit + log_mass; }

  GK_INLINE void add(F logit, F log_mass) {
    logits = logits + tail_exp(logit - top_logit);
    const F next = term(logit, log_mass), step = next - top, fall = tail_exp(-abs(step));
    terms = select(step > F(0), fma(terms, fall, F(1)), terms + fall);
    top = max(top, next);
  }

  GK_INLINE F nll() const { return log(logits / terms) - top; }
  GK_INLINE F weight(F logit) const { return tail_exp(logit - top_logit) / logits; }
  GK_INLINE F posterior(F logit, F log_mass) const { return tail_exp(term(logit, log_mass) - top) / terms; }
  // No component has a weight or a share where there is no mass at all.
  GK_INLINE MixtureSum for_shares() const {
    const F infinity = -F(kMinusInfinity);
    const auto none = terms == F(0);
    return {top_logit, select(none, infinity, logits), top, select(none, infinity, terms)};
  }
};

}  // namespace genkern
