// The discrete family: what happens to the elements of a tile, each with K classes, for every backend. An engine's
// E::ClassInput and E::ClassOutput (cpu/classes.h, cuda/classes.cuh) move as many elements as a formula takes at once,
// a block, through all their classes; E::block names it. E::ClassScratch keeps a number a class from one pass to the
// next where memory is near, and computes it again where it is not.
#pragma once

#include "kernels.h"
#include "math/discrete.h"
#include "tiles/terms.h"

namespace genkern {

GK_INLINE std::true_type is_plain(const Classes&) { return {}; }

template <class E>
struct CategoricalInputs {
  using T = typename E::T;
  using F = typename E::F;
  const Categorical& a;
  typename E::ClassInput q{a.q, a}, p{a.p, a};
  typename E::ClassScratch mass_q{a}, mass_p{a, a.divergence};  // exp(logit - the largest)
  typename E::ClassScratch shifted{a, a.divergence};

  GK_DEVICE explicit CategoricalInputs(const Categorical& a) : a(a) {}
  GK_DEVICE void seek(const typename E::Block& b) {
    q.seek(b);
    p.seek(b);
  }
  GK_DEVICE F logit_p(int64_t k) const { return p ? p[k] : F(T(0)); }

  GK_DEVICE SoftmaxSums<F> sums() {
    F top{T(kMinusInfinity)};
    GK_NO_UNROLL
    for (int64_t k = 0; k < a.classes; ++k) top = max(top, q[k]);
    SoftmaxSums<F> sums(top);
    GK_NO_UNROLL
    for (int64_t k = 0; k < a.classes; ++k) sums.add(q[k] - top, mass_q.set(k, tail_exp(q[k] - top)));
    return sums;
  }
  GK_DEVICE F mass(const SoftmaxSums<F>& sums, int64_t k) const {
    return mass_q.get(k, [&] { return tail_exp(q[k] - sums.top); });
  }

  GK_DEVICE PairMap<F> pair() {
    F top_q{T(kMinusInfinity)}, top_p{T(kMinusInfinity)}, p_at_top{T(kMinusInfinity)};
    GK_NO_UNROLL
    for (int64_t k = 0; k < a.classes; ++k) {
      const F logit_q = q[k], logit = logit_p(k);
      p_at_top = select(logit_q > top_q, logit, p_at_top);
      top_q = max(top_q, logit_q);
      top_p = max(top_p, logit);
    }
    PairSums<F> sums(top_q, top_p, p_at_top);
    GK_NO_UNROLL
    for (int64_t k = 0; k < a.classes; ++k) {
      const F logit_q = q[k], logit = logit_p(k);
      sums.add(shifted.set(k, sums.shifted(logit_q, logit)), mass_q.set(k, falling_exp(logit_q - top_q)),
               mass_p.set(k, tail_exp(logit - top_p)));
    }
    return PairMap<F>(sums, T(a.unimix), T(a.classes));
  }
  GK_DEVICE PairTerm<F> term(const PairMap<F>& pair, int64_t k) const {
    const F logit_q = q[k], logit = logit_p(k);
    return pair(logit_q, logit, shifted.get(k, [&] { return pair.sums.shifted(logit_q, logit); }),
                mass_q.get(k, [&] { return falling_exp(logit_q - pair.sums.top_q); }),
                mass_p.get(k, [&] { return tail_exp(logit - pair.sums.top_p); }));
  }
};

template <class E>
struct CategoricalForwardTile {
  using T = typename E::T;
  using F = typename E::F;
  CategoricalInputs<E> in;

  GK_DEVICE explicit CategoricalForwardTile(const CategoricalForward& a) : in(a) {}

  GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* value) {
    for (int64_t i = 0; i < s.n; i += E::lanes) {
      in.seek(E::block(s, i));
      if (!in.a.divergence) {
        value->set(i, in.sums().entropy());
        continue;
      }
      const PairMap<F> pair = in.pair();
      F sum(T(0));
      GK_NO_UNROLL
      for (int64_t k = 0; k < in.a.classes; ++k) sum = sum + in.term(pair, k).value;
      value->set(i, max(F(T(in.a.free_nats)), sum));
    }
  }
};

template <class E>
struct CategoricalBackwardTile {
  using T = typename E::T;
  using F = typename E::F;
  using Block = typename E::Block;
  const CategoricalBackward& a;
  CategoricalInputs<E> in{a};
  typename E::LossInput grad{a.grad};
  typename E::ClassOutput d_q{a.d_q, a}, d_p{a.d_p, a};
  typename E::ClassScratch half_ratio{a, a.divergence}, by_p{a, a.divergence};

  GK_DEVICE explicit CategoricalBackwardTile(const CategoricalBackward& a) : a(a) {}

  GK_DEVICE void operator()(const typename E::Span& s) {
    grad.fetch(s);
    for (int64_t i = 0; i < s.n; i += E::lanes) {
      const Block block = E::block(s, i);
      in.seek(block);
      d_q.seek(block);
      d_p.seek(block);
      const F g = grad[i] * F(T(a.factor));
      a.divergence ? divergence(g) : entropy(g);
      d_q.commit(block);
      d_p.commit(block);
    }
  }

 private:
  // -q (log q + H), where log q and H have the largest logit and the logarithm of the total in common.
  GK_DEVICE void entropy(F g) {
    const SoftmaxSums<F> sums = in.sums();
    const F inverse = F(T(1)) / sums.total(), mean = sums.weighted * inverse;
    GK_NO_UNROLL
    for (int64_t k = 0; k < a.classes; ++k) {
      const F from_top = in.q[k] - sums.top, q = in.mass(sums, k) * inverse;
      d_q.set(k, select(q == F(T(0)), F(T(0)), -(g * q * (from_top - mean))));
    }
  }

  // The gradient by q's logits is softmax_q (r - mean of r), that by p's softmax_p times a mean less by_p, each with
  // 1 - unimix. What p has no mass for is left out. Where one class has most of q, r is taken from the r of that class,
  // so that the mean keeps the digits of the others; halves of both cannot overflow. The mean for p is the sum of the
  // by_p that came out: an error which all of them have in common leaves the gradient alone.
  GK_DEVICE void divergence(F g) {
    const PairMap<F> pair = in.pair();
    const F origin = select(pair.inverse_q > F(0.5f), F(0.5f) * pair.at_top(), F(0));
    // The mean by p without its largest class, nearly all of it where p is nearly certain, keeps the digits of the
    // rest.
    F value(T(0)), total_q(T(0)), weighted(T(0)), of_largest(T(0)), of_rest(T(0)), lost(T(0));
    GK_NO_UNROLL
    for (int64_t k = 0; k < a.classes; ++k) {
      const PairTerm<F> t = in.term(pair, k);
      value = value + t.value;
      total_q = total_q + t.softmax_q;
      weighted = fma(t.softmax_q, half_ratio.set(k, fma(F(0.5f), t.log_ratio, -origin)), weighted);
      const F difference = by_p.set(k, t.by_p);
      const auto largest = in.logit_p(k) == pair.sums.top_p;
      of_largest = of_largest + select(largest, difference, F(T(0)));
      of_rest = of_rest + select(largest, F(T(0)), difference);
      lost = lost + t.lost;
    }
    const F mean_q = weighted / total_q, mean_p = of_largest + of_rest;
    if (a.free_nats > 0.0) g = select(value < F(T(a.free_nats)), F(T(0)), g);  // nan passes
    const F g_q = g * F(T(2.0 * a.grad_scale_q)) * pair.keep, g_p = g * F(T(a.grad_scale_p)) * pair.keep;
    GK_NO_UNROLL
    for (int64_t k = 0; k < a.classes; ++k) {
      const PairTerm<F> t = in.term(pair, k);  // of which, where something is kept, the masses alone are used
      const F half = half_ratio.get(k, [&] { return fma(F(0.5f), t.log_ratio, -origin); });
      const F difference = by_p.get(k, [&] { return t.by_p; });
      const F left = select(t.lost > F(T(0)), F(T(1)), F(T(0)));
      const F from_mean = fma(F(0.5f), lost - left, half - mean_q);  // which may overflow where there is no mass
      d_q.set(k, select(t.softmax_q == F(T(0)), F(T(0)), g_q * t.softmax_q * from_mean));
      d_p.set(k, g_p * (t.softmax_p * mean_p - difference));  // rounded products of equal classes cancel
    }
  }
};

// Scores of a block: logits and noise.
template <class E>
struct GumbelInputs {
  using T = typename E::T;
  using F = typename E::F;
  const GumbelSoftmax& a;
  typename E::ClassInput logits;
  typename E::ClassNoise eps;
  typename E::ClassScratch mass;  // exp of a score less the largest, over tau
  F tau;

  GK_DEVICE explicit GumbelInputs(const GumbelSoftmax& a) : a(a), logits(a.logits, a), eps(a), mass(a), tau(T(a.tau)) {}
  GK_DEVICE void seek(const typename E::Block& b) {
    logits.seek(b);
    eps.seek(b);
  }
  GK_DEVICE F operator()(int64_t k) { return logits[k] + eps[k]; }
  GK_DEVICE bool cold() const { return T(a.tau) == T(0); }

  // The largest score; nan where there is none: all of them -inf, or one nan or inf.
  GK_DEVICE F top() {
    F top{T(kMinusInfinity)}, missing{T(0)};
    GK_NO_UNROLL
    for (int64_t k = 0; k < a.classes; ++k) {
      const F score = (*this)(k);
      top = max(top, score);
      missing = select(score == score, missing, score);
    }
    return top + (missing + (top - top));
  }
  // The largest is taken off before the division, which then overflows to -inf alone.
  GK_DEVICE F new_mass(int64_t k, F top) { return tail_exp(((*this)(k)-top) / tau); }
  GK_DEVICE F old_mass(int64_t k, F top) {
    return mass.get(k, [&] { return new_mass(k, top); });
  }
};

template <class E>
struct GumbelSoftmaxForwardTile {
  static constexpr bool kFlushes = true;
  using T = typename E::T;
  using F = typename E::F;
  GumbelInputs<E> in;
  typename E::ClassOutput y;

  GK_DEVICE explicit GumbelSoftmaxForwardTile(const GumbelSoftmaxForward& a) : in(a), y(a.y, a) {}

  GK_DEVICE void operator()(const typename E::Span& s) {
    for (int64_t i = 0; i < s.n; i += E::lanes) {
      const auto block = E::block(s, i);
      in.seek(block);
      y.seek(block);
      const F top = in.top(), none = top - top;  // 0 or nan
      if (in.a.hard || in.cold()) {
        F left(T(1));  // 0 once the first of the largest is found
        GK_NO_UNROLL
        for (int64_t k = 0; k < in.a.classes; ++k) {
          const F one = select(in(k) == top, left, F(T(0)));
          left = left - one;
          y.set(k, one + none);
        }
      } else {
        F total(T(0));
        GK_NO_UNROLL
        for (int64_t k = 0; k < in.a.classes; ++k) total = total + in.mass.set(k, in.new_mass(k, top));
        const F inverse = F(T(1)) / total;
        GK_NO_UNROLL
        for (int64_t k = 0; k < in.a.classes; ++k) y.set(k, in.old_mass(k, top) * inverse);
      }
      y.commit(block);
    }
  }
};

template <class E>
struct GumbelSoftmaxBackwardTile {
  static constexpr bool kFlushes = true;
  using T = typename E::T;
  using F = typename E::F;
  const GumbelSoftmaxBackward& a;
  GumbelInputs<E> in{a};
  typename E::ClassInput y{a.y, a}, grad{a.grad, a};
  typename E::ClassOutput d_logits{a.d_logits, a}, d_eps{a.d_eps, a};

  GK_DEVICE explicit GumbelSoftmaxBackwardTile(const GumbelSoftmaxBackward& a) : a(a) {}

  GK_DEVICE void operator()(const typename E::Span& s) {
    for (int64_t i = 0; i < s.n; i += E::lanes) {
      const auto block = E::block(s, i);
      grad.seek(block);
      d_logits.seek(block);
      d_eps.seek(block);
      if (in.cold()) {
        GK_NO_UNROLL
        for (int64_t k = 0; k < in.a.classes; ++k) set(k, F(T(0)));
      } else if (y) {
        y.seek(block);
        of_sample();
      } else {
        in.seek(block);
        of_scores();
      }
      d_logits.commit(block);
      d_eps.commit(block);
    }
  }

 private:
  GK_DEVICE void set(int64_t k, F d) {
    d_logits.set(k, d);
    d_eps.set(k, d);
  }

  // y (grad - sum of y grad) / tau
  GK_DEVICE void of_sample() {
    F mean(T(0));
    GK_NO_UNROLL
    for (int64_t k = 0; k < in.a.classes; ++k) mean = fma(y[k], grad[k], mean);
    GK_NO_UNROLL
    for (int64_t k = 0; k < in.a.classes; ++k) set(k, y[k] * (grad[k] - mean) / in.tau);
  }

  // The same, y made again.
  GK_DEVICE void of_scores() {
    const F top = in.top();
    F total(T(0)), mean(T(0));
    GK_NO_UNROLL
    for (int64_t k = 0; k < in.a.classes; ++k) {
      const F mass = in.mass.set(k, in.new_mass(k, top));
      total = total + mass;
      mean = fma(mass, grad[k], mean);
    }
    const F inverse = F(T(1)) / total;
    mean = mean * inverse;
    GK_NO_UNROLL
    for (int64_t k = 0; k < in.a.classes; ++k) set(k, in.old_mass(k, top) * inverse * (grad[k] - mean) / in.tau);
  }
};

}  // namespace genkern
