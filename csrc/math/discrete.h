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

// exp(x) - 1 - x and exp(x) - 1 for |x| < kNear, by the series alone.
inline constexpr float kNear = 0.25f;
template <class F>
struct Expm1 {
  F minus_x, value;
};
template <class F>
GK_INLINE Expm1<F> near_expm1(F x) {
  constexpr int terms = sizeof(scalar_t<F>) == 8 ? 12 : 6;
  constexpr auto coefficient = inverse_factorials<scalar_t<F>, terms>();
  F series = F(coefficient.value[terms - 1]);
  GK_UNROLL
  for (int k = terms - 2; k >= 0; --k) series = fma(series, x, F(coefficient.value[k]));
  series = series * x * x;
  return {series, x + series};
}

// q - p, without cancellation where log(q / p) is near 0; nan of two infinite logits is not.
template <class F>
GK_INLINE F mass_difference(F q, F p, F log_ratio) {
  return select(abs(log_ratio) < F(kNear), -(q * near_expm1(-log_ratio).value), q - p);
}

// q and p of a divergence: largest logits, then sums over the classes.
template <class F>
struct PairSums {
  F top_q, top_p, tops;        // and how far apart the largest are
  F p_at_top;                  // p's logit where that of q is largest
  F total_q, total_p, excess;  // of exp(logit - top), and of the difference of the two

  GK_INLINE PairSums(F top_q, F top_p, F p_at_top)
      : top_q(top_q),
        top_p(top_p),
        tops(abs(top_q - top_p)),
        p_at_top(p_at_top),
        total_q(F(0)),
        total_p(F(0)),
        excess(F(0)) {}
  // log(q / p) but for the normalisers, of the two logits and the largest two: those are subtracted first that are
  // nearer to each other, so that neither nearly equal logits nor large ones lose the digits that matter.
  GK_INLINE F shifted(F logit_q, F logit_p) const {
    const F apart = logit_q - logit_p, from_q = logit_q - top_q, from_p = logit_p - top_p;
    return select(abs(apart) < -(from_q + from_p) - tops, apart - (top_q - top_p), from_q - from_p);
  }
  // q = exp(logit_q - top_q), and p likewise.
  GK_INLINE void add(F logit_q, F logit_p, F q, F p) {
    total_q = total_q + q;
    total_p = total_p + p;
    excess = excess + mass_difference(q, p, shifted(logit_q, logit_p));
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
        mixes(unimix != 0) {}

  // The term of one class. Its masses are those that the sums were given.
  GK_INLINE PairTerm<F> operator()(F logit_q, F logit_p, F mass_q, F mass_p) const {
    const F minus_infinity(kMinusInfinity);
    const auto none_p = logit_p == minus_infinity;
    const auto without = (logit_q == minus_infinity) | none_p;
    // A number, whose product with a mass of 0 is 0.
    F r = select(without, F(0), within(sums.shifted(logit_q, logit_p) - shift, F(kLargest<F>)));
    PairTerm<F> t;
    F q = t.softmax_q = mass_q * inverse_q;
    F p = t.softmax_p = mass_p * inverse_p;
    const auto near = (abs(r) < F(kNear)) & !without;
    const Expm1<F> fall = near_expm1(-r);  // p / q - 1
    const F difference = select(near, -(q * fall.value), q - p);
    if (mixes) {
      q = fma(keep, q, floor);
      p = fma(keep, p, floor);
      const F inverse = F(1) / p, relative = keep * difference * inverse;
      r = log_of_ratio(q * inverse, relative);
      t.value = select(abs(r) < F(kNear), q * near_expm1(-r).minus_x, fma(q, r, p - q));
      t.by_p = t.softmax_p * relative;
      t.lost = F(0);
    } else {
      t.value = select(near, q * fall.minus_x, fma(q, r, p - q));
      t.lost = select(none_p, q, F(0));
      t.value = select(t.lost > F(0), -minus_infinity, t.value);
      t.by_p = select(none_p, F(0), difference);
    }
    t.log_ratio = r;
    return t;
  }
  // log(q / p) of q's largest class.
  GK_INLINE F at_top() const {
    return (*this)(sums.top_q, sums.p_at_top, F(1), tail_exp(sums.p_at_top - sums.top_p)).log_ratio;
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
