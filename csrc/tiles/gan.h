// The GAN family: what happens to one tile, for every backend (tiles/gaussian.h says what an engine E gives).
#pragma once

#include "kernels.h"
#include "math/gan.h"

namespace genkern {

// Kernels are not compiled apart by storage type for logits, which are few, nor for groups.
GK_INLINE std::false_type is_plain(const GanLoss&) { return {}; }
GK_INLINE std::false_type is_plain(const MinibatchStddev&) { return {}; }
GK_INLINE std::false_type is_plain(const CenteredNorm&) { return {}; }
GK_INLINE std::true_type is_plain(const Interpolate&) { return {}; }
GK_INLINE std::true_type is_plain(const SquaredNorm&) { return {}; }
GK_INLINE std::true_type is_plain(const NormBackward&) { return {}; }

// Logits of a tile: where one kind has ended, its part of the tile is empty.
template <class E>
struct GanLogits {
  using F = typename E::F;
  using Span = typename E::Span;
  const GanLoss& a;
  typename E::Input real{a.real}, fake{a.fake};
  GanLogit<F> of_real{a.of_real}, of_fake{a.of_fake};

  GK_DEVICE explicit GanLogits(const GanLoss& a) : a(a) {}

  GK_DEVICE Span reals(const Span& s) const { return E::part(s, a.reals); }
  GK_DEVICE Span fakes(const Span& s) const { return E::part(s, a.fakes); }
};

template <class E>
struct GanLossForwardTile {
  static constexpr bool kFlushes = true;
  using F = typename E::F;
  using Span = typename E::Span;
  GanLogits<E> in;

  GK_DEVICE explicit GanLossForwardTile(const GanLossForward& a) : in(a) {}

  GK_DEVICE void operator()(const Span& s, typename E::Values* loss) {
    const Span reals = in.reals(s), fakes = in.fakes(s);
    if (in.real) in.real.fetch(reals);
    in.fake.fetch(fakes);
    if (in.a.relativistic) {
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) loss->set(i, in.of_fake.value(in.fake[i] - in.real[i]));
      return;
    }
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
      F value = F(0);
      if (in.real && i < reals.n) value = E::only(reals, i, in.of_real.value(in.real[i]));
      if (i < fakes.n) value = value + E::only(fakes, i, in.of_fake.value(in.fake[i]));
      loss->set(i, value);
    }
  }
};

template <class E>
struct GanLossBackwardTile {
  static constexpr bool kFlushes = true;
  using F = typename E::F;
  using Span = typename E::Span;
  const GanLossBackward& a;
  GanLogits<E> in{a};
  typename E::LossInput grad{a.grad};
  typename E::Output d_real{a.d_real}, d_fake{a.d_fake};

  GK_DEVICE explicit GanLossBackwardTile(const GanLossBackward& a) : a(a) {}

  GK_DEVICE void operator()(const Span& s) {
    const Span reals = in.reals(s), fakes = in.fakes(s);
    if (in.real) in.real.fetch(reals);
    in.fake.fetch(fakes);
    grad.fetch(s);
    d_real.prepare(reals);
    d_fake.prepare(fakes);
    if (in.a.relativistic) {
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
        const F by_fake = grad[i] * in.of_fake.slope(in.fake[i] - in.real[i]);
        d_fake.set(i, by_fake);
        d_real.set(i, -by_fake);
      }
    } else {
      if (d_real)
        GK_TILE for (int64_t i = 0; i < reals.n; i += E::lanes) d_real.set(i, grad[i] * in.of_real.slope(in.real[i]));
      if (d_fake)
        GK_TILE for (int64_t i = 0; i < fakes.n; i += E::lanes) d_fake.set(i, grad[i] * in.of_fake.slope(in.fake[i]));
    }
    d_real.commit(reals);
    d_fake.commit(fakes);
  }
};

template <class E>
struct InterpolateForwardTile {
  static constexpr bool kKeepsRows = true;
  const InterpolateForward& a;
  typename E::Input real{a.real}, fake{a.fake};
  typename E::RowUniform eps{a.noise, a.extent};
  typename E::Output out{a.out};

  GK_DEVICE explicit InterpolateForwardTile(const InterpolateForward& a) : a(a) {}

  GK_DEVICE void operator()(const typename E::Span& s) {
    using F = typename E::F;
    real.fetch(s);
    fake.fetch(s);
    eps.fetch(s);
    out.prepare(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) out.set(i, interpolation(F(real[i]), F(fake[i]), F(eps[i])));
    out.commit(s);
  }
};

// The gradient by eps is the tile's value, summed over rows; real and fake serve it alone.
template <class E>
struct InterpolateBackwardTile {
  static constexpr bool kKeepsRows = true;
  using F = typename E::F;
  using Span = typename E::Span;
  const InterpolateBackward& a;
  typename E::Input real{a.real}, fake{a.fake}, grad{a.grad};
  typename E::RowUniform eps{a.noise, a.extent};
  typename E::Output d_real{a.d_real}, d_fake{a.d_fake};

  GK_DEVICE explicit InterpolateBackwardTile(const InterpolateBackward& a) : a(a) {}

  GK_DEVICE void operator()(const Span& s, typename E::Values* d_eps) {
    real.fetch(s);
    fake.fetch(s);
    (*this)(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) d_eps->set(i, grad[i] * (real[i] - fake[i]));
  }
  GK_DEVICE void operator()(const Span& s) {
    grad.fetch(s);
    eps.fetch(s);
    d_real.prepare(s);
    d_fake.prepare(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
      const F e = eps[i], g = grad[i];
      d_real.set(i, e * g);
      d_fake.set(i, (F(1) - e) * g);
    }
    d_real.commit(s);
    d_fake.commit(s);
  }
};

template <class E>
struct SquaredNormTile {
  using F = typename E::F;
  typename E::Input x;

  GK_DEVICE explicit SquaredNormTile(const SquaredNorm& a) : x(a.x) {}

  GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* squares) {
    x.fetch(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
      const F value = x[i];
      squares->set(i, value * value);
    }
  }

  static constexpr bool kSums = true;
  void point(const typename E::Span& s) { x.point(s); }
  double sum(int64_t at, int64_t n) const {
    return x.sum_of(at, n, [](F value) { return value * value; });
  }
};

template <class E>
struct CenteredNormTile {
  using F = typename E::F;
  const CenteredNorm& a;
  typename E::LossInput squares{a.squares};
  typename E::Output norms{a.norms};
  F center{typename E::T(a.center)};

  GK_DEVICE explicit CenteredNormTile(const CenteredNorm& a) : a(a) {}

  GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* penalty) {
    squares.fetch(s);
    norms.prepare(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
      const F norm = sqrt(F(squares[i])), away = norm - center;
      norms.set(i, norm);
      penalty->set(i, away * away);
    }
    norms.commit(s);
  }
};

// A norm of 0 has the gradient 0.
template <class E>
struct NormBackwardTile {
  using F = typename E::F;
  const NormBackward& a;
  typename E::Input x{a.x};
  typename E::LossInput grad{a.grad}, norms{a.norms}, grad_norms{a.grad_norms};
  typename E::Output d_x{a.d_x};
  F center{typename E::T(a.center)}, factor{typename E::T(a.factor)};

  GK_DEVICE explicit NormBackwardTile(const NormBackward& a) : a(a) {}

  GK_DEVICE void operator()(const typename E::Span& s) {
    x.fetch(s);
    grad.fetch(s);
    norms.fetch(s);
    grad_norms.fetch(s);
    d_x.prepare(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
      F g = F(0);
      if (grad) g = grad[i] * factor;
      if (norms) {
        const F norm = norms[i];
        F by_norm = g * (F(1) - center / norm);
        if (grad_norms) by_norm = by_norm + grad_norms[i] / norm;
        g = select(norm == F(0), F(0), by_norm);
      }
      d_x.set(i, x[i] * g);
    }
    d_x.commit(s);
  }
};

// Mean and variance over the members of a group; deviations are from the mean, in a second pass. The mean is kept as
// its distance from the first member: rounded to the size of the members themselves, it would lose the digits in which
// nearly equal ones differ.
template <class E>
struct GroupMoments {
  using F = typename E::F;
  using Span = typename E::Span;
  const MinibatchStddev& a;
  typename E::Input x;
  typename E::Scratch first, shift, variance;
  F eps;

  GK_DEVICE explicit GroupMoments(const MinibatchStddev& a) : a(a), x(a.x), eps(typename E::T(a.eps)) {}

  GK_DEVICE Span fetch(const Span& s, int64_t k) {
    const Span part = E::part(s, a.numel - k * a.member);
    x.fetch(part, k * a.member);
    return part;
  }
  GK_DEVICE F count(const Span& s, int64_t i) const {
    const Span last = E::part(s, a.numel - (a.members - 1) * a.member);
    return F(typename E::T(a.members - 1)) + (i < last.n ? E::only(last, i, F(1)) : F(0));
  }
  GK_DEVICE void operator()(const Span& s) {
    fetch(s, 0);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) first.set(i, x[i]);
    average(s, shift, [&](int64_t i) { return x[i] - first[i]; });
    average(s, variance, [&](int64_t i) { return deviation(i) * deviation(i); });
  }
  // How far the member that was fetched last is from the mean.
  GK_DEVICE F deviation(int64_t i) const { return (x[i] - first[i]) - shift[i]; }
  GK_DEVICE F stddev(int64_t i) const { return sqrt(variance[i] + eps); }

 private:
  // out = the mean of value over the members of a group.
  template <class Value>
  GK_DEVICE void average(const Span& s, typename E::Scratch& out, const Value& value) {
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) out.set(i, F(0));
    GK_NO_UNROLL
    for (int64_t k = 0; k < a.members; ++k) {
      const Span part = fetch(s, k);
      GK_TILE for (int64_t i = 0; i < part.n; i += E::lanes) out.set(i, out[i] + E::only(part, i, value(i)));
    }
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) out.set(i, out[i] / count(s, i));
  }
};

template <class E>
struct MinibatchStddevForwardTile {
  static constexpr bool kKeepsRows = true;
  GroupMoments<E> of;

  GK_DEVICE explicit MinibatchStddevForwardTile(const MinibatchStddevForward& a) : of(a) {}

  GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* stddev) {
    of(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) stddev->set(i, of.stddev(i));
  }
};

template <class E>
struct MinibatchStddevBackwardTile {
  static constexpr bool kKeepsRows = true;
  using F = typename E::F;
  using Span = typename E::Span;
  const MinibatchStddevBackward& a;
  GroupMoments<E> of{a};
  typename E::Input upstream{a.upstream};
  typename E::LossInput grad{a.grad};
  typename E::Output d_x{a.d_x};
  typename E::Scratch scale;
  int64_t upstream_member{a.upstream_member};
  F factor{typename E::T(a.factor)};

  GK_DEVICE explicit MinibatchStddevBackwardTile(const MinibatchStddevBackward& a) : a(a) {}

  GK_DEVICE void operator()(const Span& s) {
    of(s);
    grad.fetch(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes)
        scale.set(i, grad[i] * factor / (of.count(s, i) * of.stddev(i)));
    GK_NO_UNROLL
    for (int64_t k = 0; k < of.a.members; ++k) {
      const Span part = of.fetch(s, k);
      upstream.fetch(part, k * upstream_member);
      d_x.prepare(part, k * of.a.member);
      GK_TILE for (int64_t i = 0; i < part.n; i += E::lanes) d_x.set(i, fma(scale[i], of.deviation(i), F(upstream[i])));
      d_x.commit(part, k * of.a.member);
    }
  }
};

}  // namespace genkern
