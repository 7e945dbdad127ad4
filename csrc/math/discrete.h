// Discrete distributions, a class at a time (sources and derivations: docs/numerics.md). A class without mass is left
// out, of gradients too.
#pragma once

#include "math/numeric.h"
#include "math/options.h"

namespace genkern {

// -p log p
template <class F>
struct Entropy {
  static constexpr int kNumbers = 1;
  static constexpr bool kOfCounts = false;
  static constexpr bool kFlushes = false;

  GK_INLINE explicit Entropy(const TermOptions&) {}
  GK_INLINE F value(F p) const { return select(p == F(0), F(0), -(p * log(p))); }
  GK_INLINE Numbers<F, 1> gradient(F p) const { return {{select(p == F(0), F(0), -(log(p) + F(1)))}}; }
};

// log(ratio), given ratio - 1 as well, which is accurate where it is small.
template <class F>
GK_INLINE F log_of_ratio(F ratio, F relative) {
  const auto near = abs(relative) < F(0.5f);
  const F rounded = select(near, F(1) + relative, ratio);
  return log(rounded) + select(near, lost_of_sum(relative, rounded), F(0));
}

// p log(p / q)
template <class F>
struct RelativeEntropy {
  static constexpr int kNumbers = 2;
  static constexpr bool kOfCounts = false;
  static constexpr bool kFlushes = false;

  GK_INLINE explicit RelativeEntropy(const TermOptions&) {}
  GK_INLINE F value(F p, F q) const {
    const Ratio r = ratio(p, q);
    return select(r.none, F(0), p * r.log);
  }
  GK_INLINE Numbers<F, 2> gradient(F p, F q) const {
    const Ratio r = ratio(p, q);
    return {{select(r.none, F(0), r.log + F(1)), select(r.none, F(0), -r.quotient)}};
  }

 private:
  struct Ratio {
    F quotient, log;
    decltype(F() == F()) none;
  };

  GK_INLINE Ratio ratio(F p, F q) const {
    const F inverse = F(1) / q, quotient = p * inverse, relative = (p - q) * inverse;
    const auto none = p == F(0), near = abs(relative) < F(0.5f);
    const F rounded = select(near, F(1) + relative, quotient);
    F found = elementary::log_normal(rounded) + select(near, lost_of_sum(relative, rounded), F(0));
    // Logarithms are subtracted where the quotient is no normal number, or nearly none, or where p or q is no mass.
    const auto usual = ((q > F(0)) & (quotient > F(0x1p-126f)) & (quotient < F(0x1p126f))) | near | none;
    if (Masks<F>::any(!usual)) found = select(usual, found, log(p) - log(q));
    return {quotient, found, none};
  }
};

// Over logits, from the largest on: what log-softmax and entropy need.
template <class F>
struct SoftmaxSums {
  F top;
  F ones, rest;  // how many are as large as the largest, and the sum of exp(logit - top) over the others
  F weighted;    // sum of (logit - top) exp(logit - top)

  GK_INLINE explicit SoftmaxSums(F top) : top(top), ones(F(0)), rest(F(0)), weighted(F(0)) {}
  // a = logit - top, e = exp(a).
  GK_INLINE void add(F a, F e) {
    const auto largest = a == F(0);
    ones = ones + select(largest, F(1), F(0));
    rest = rest + select(largest, F(0), e);
    weighted = weighted + select(e == F(0), F(0), a * e);
  }
  GK_INLINE F total() const { return ones + rest; }
  // Without the largest there is 1 + rest, whose logarithm keeps the digits of a small rest.
  GK_INLINE F log_total() const { return log1p((ones - F(1)) + rest); }
  GK_INLINE F entropy() const { return log_total() - weighted / total(); }
};

// Masses q and p near each other, |r| < kNear for r = log(q / p). Over q + p: q - p, which is tanh(r / 2), and
// p - q + q r, from what tanh(h) lacks of h, so that nothing cancels; the series are Chebyshev expansions
// (docs/fit.py).
inline constexpr float kNear = 0.25f;
template <class F>
struct NearMasses {
  F difference, value;
};
template <class F>
GK_INLINE NearMasses<F> near_masses(F r) {
  const F h = F(0.5f) * r, h2 = h * h;
  F lacking;  // 1 - tanh(h) / h
  if constexpr (elementary::kWide<F>) {
    constexpr double c[] = {0.33333333333333332,   -0.13333333333328661,  0.053968253933338287,
                            -0.021869478990403162, 0.0088620549527335167, -0.003524697168870862};
    lacking = h2 * elementary::polynomial(h2, c);
  } else {
    constexpr float c[] = {0.3333333308f, -0.1333303594f, 0.05345944909f};
    lacking = h2 * elementary::polynomial(h2, c);
  }
  const F difference = fma(-h, lacking, h);
  return {difference, h * (lacking + difference)};
}

// q - p, without cancellation where log(q / p) is near 0; nan of two infinite logits is not.
template <class F>
GK_INLINE F mass_difference(F q, F p, F log_ratio) {
  return select(abs(log_ratio) < F(kNear), (q + p) * near_masses(log_ratio).difference, q - p);
}

// log(q / p) and p - q + q log(q / p) of normal numbers, whose difference is given, and 1 / p. With q / p = 2^e m the
// logarithm of m is 2 artanh(s), s = (m - 1) / (m + 1). Where e is 0, s is (q - p) / (q + p), and the second one is
// (q - p) (s + (1 + s) (artanh(s) / s - 1)), where nothing cancels.
template <class F>
struct MassRatio {
  F log, value;

  GK_INLINE MassRatio(F q, F p, F difference, F inverse_p) {
    using Exponent = elementary::Exponent<F>;
    const elementary::Binary<F> ratio = elementary::binary(q * inverse_p);
    const auto near = ratio.e == F(0);
    const F s = select(near, difference, ratio.m - F(1)) / select(near, q + p, ratio.m + F(1));
    const F s2 = s * s, tail = s2 * elementary::artanh_tail(s2);
    const F of_m = fma(s, tail, fma(F(0), difference, s + s));  // nan where the difference is, which has no exponent
    log = fma(ratio.e, F(Exponent::kLn2High), fma(ratio.e, F(Exponent::kLn2Low), of_m));
    value = select(near, difference * fma(fma(F(0.5f), s, F(0.5f)), tail, s), fma(q, log, p - q));
  }
};

// q and p of a divergence: largest logits, then sums over the classes.
template <class F>
struct PairSums {
  F top_q, top_p;
  F p_at_top;                  // p's logit where that of q is largest
  F total_q, total_p, excess;  // of exp(logit - top), and of the difference of the two

  GK_INLINE PairSums(F top_q, F top_p, F p_at_top)
      : top_q(top_q), top_p(top_p), p_at_top(p_at_top), total_q(F(0)), total_p(F(0)), excess(F(0)) {}
  // log(q / p) but for the normalisers, of the two logits and the largest two: those are subtracted first that are
  // nearer to each other, so that neither nearly equal logits nor large ones lose the digits that matter.
  GK_INLINE F shifted(F logit_q, F logit_p) const {
    const F apart = logit_q - logit_p, from_q = logit_q - top_q, from_p = logit_p - top_p, tops = top_q - top_p;
    return select(abs(apart) < -(from_q + from_p) - abs(tops), apart - tops, from_q - from_p);
  }
  // q = exp(logit_q - top_q), and p likewise.
  GK_INLINE void add(F shifted, F q, F p) {
    total_q = total_q + q;
    total_p = total_p + p;
    excess = excess + mass_difference(q, p, shifted);
  }
};

// One class of the divergence.
template <class F>
struct PairTerm {
  F softmax_q, softmax_p;
  F log_ratio;  // log(q / p), 0 where either has no mass at all
  F value;      // q (exp(-r) - 1 + r) = p - q + q r
  F by_p;       // (q - p) softmax_p / p
  F lost;       // mass of q where p has none
};

// Maps logits to the masses and their terms; u: the share of the uniform distribution.
template <class F>
struct PairMap {
  PairSums<F> sums;
  F inverse_q, inverse_p, shift, u, keep, floor;
  bool mixes;

  GK_INLINE PairMap(const PairSums<F>& sums, scalar_t<F> unimix, scalar_t<F> classes)
      : sums(sums),
        inverse_q(F(1) / sums.total_q),
        inverse_p(F(1) / sums.total_p),
        shift(log_of_ratio(sums.total_q * inverse_p, sums.excess * inverse_p)),
        u(F(unimix)),
        keep(F(1 - unimix)),
        floor(F(unimix / classes)),
        mixes(unimix / classes >= kSmallest<F>) {}

  // The term of one class. Its masses are those that the sums were given.
  GK_INLINE PairTerm<F> operator()(F logit_q, F logit_p, F shifted, F mass_q, F mass_p) const {
    PairTerm<F> t;
    const F q = t.softmax_q = mass_q * inverse_q;
    const F p = t.softmax_p = mass_p * inverse_p;
    const F both = q + p, r = shifted - shift;
    const auto near = abs(r) < F(kNear);  // neither of them without mass, where r is infinite or nan
    const NearMasses<F> over_both = near_masses(r);
    const F difference = select(near, both * over_both.difference, q - p);
    if (mixes) {
      const F mixed_q = fma(keep, q, floor), mixed_p = fma(keep, p, floor), inverse = F(1) / mixed_p;
      const F mixed_difference = keep * difference;
      t.by_p = p * (mixed_difference * inverse);
      const MassRatio<F> ratio(mixed_q, mixed_p, mixed_difference, inverse);
      t.log_ratio = ratio.log;
      t.value = ratio.value;
      t.lost = F(0);
    } else {
      const F minus_infinity(kMinusInfinity);
      const auto none_p = logit_p == minus_infinity;
      const auto without = (logit_q == minus_infinity) | none_p;
      // A number, whose product with a mass of 0 is 0.
      t.log_ratio = select(without, F(0), within(r, F(kLargest<F>)));
      t.lost = select(none_p, q, F(0));
      t.value = select(near, both * over_both.value, fma(q, t.log_ratio, p - q));
      t.value = select(t.lost > F(0), -minus_infinity, t.value);
      t.by_p = select(none_p, F(0), difference);
    }
    return t;
  }
  // log(q / p) of q's largest class.
  GK_INLINE F at_top() const {
    return (*this)(sums.top_q, sums.p_at_top, sums.shifted(sums.top_q, sums.p_at_top), F(1),
                   tail_exp(sums.p_at_top - sums.top_p))
        .log_ratio;
  }
};

// Gumbel noise from a uniform number in [0, 1), a multiple of 2^-24 (double: 2^-53): v is the middle of its step,
// rounded, and less than 1.
template <class F>
GK_INLINE F gumbel(F u) {
  constexpr scalar_t<F> step = sizeof(scalar_t<F>) == 8 ? scalar_t<F>(0x1p-53) : scalar_t<F>(0x1p-24f);
  const F v = min(F(1 - step), u + F(step / 2));
  return -log(-log1p(-v));
}

}  // namespace genkern
