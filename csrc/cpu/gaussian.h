// The Gaussian family on the CPU: which driver runs which tile.
#pragma once

#include "cpu/launch.h"
#include "tiles/gaussian.h"

namespace genkern::GENKERN_ISA {

inline Status gaussian_head_forward(const GaussianHeadForward& a, const Launch& launch) {
  return with_type(a.wide, is_plain(a), [&](auto engine, auto plain) {
    using E = decltype(engine);
    using Sample = SampleForward<E, decltype(plain)::value>;
    if (a.samples == 0) return reduce<E, KlForward<E, decltype(plain)::value>>(a, {&a.kl}, launch);
    return a.divergence ? reduce<E, Sample>(a, {&a.kl}, launch) : map<E, Sample>(a, launch);
  });
}

inline Status gaussian_head_backward(const GaussianHeadBackward& a, const Launch& launch) {
  return with_type(a.wide, is_plain(a), [&](auto engine, auto plain) {
    using E = decltype(engine);
    return map<E, HeadBackward<E, decltype(plain)::value>>(a, launch);
  });
}

template <template <class, bool> class Tile>
Status nll_forward(const LocScaleNllForward& a, const Launch& launch) {
  return with_type(a.wide, is_plain(a), [&](auto engine, auto plain) {
    using E = decltype(engine);
    return reduce<E, Tile<E, decltype(plain)::value>>(a, {&a.nll}, launch);
  });
}

template <template <class, bool> class Tile>
Status nll_backward(const LocScaleNllBackward& a, const Launch& launch) {
  return with_type(a.wide, is_plain(a), [&](auto engine, auto plain) {
    using E = decltype(engine);
    using Backward = Tile<E, decltype(plain)::value>;
    return a.d_scale_sum.out ? reduce<E, Backward>(a, {&a.d_scale_sum}, launch) : map<E, Backward>(a, launch);
  });
}

inline Status gaussian_nll_forward(const LocScaleNllForward& a, const Launch& launch) {
  return nll_forward<NllForward>(a, launch);
}

inline Status gaussian_nll_backward(const LocScaleNllBackward& a, const Launch& launch) {
  return nll_backward<NllBackward>(a, launch);
}

inline Status laplace_nll_forward(const LocScaleNllForward& a, const Launch& launch) {
  return nll_forward<LaplaceForward>(a, launch);
}

inline Status laplace_nll_backward(const LocScaleNllBackward& a, const Launch& launch) {
  return nll_backward<LaplaceBackward>(a, launch);
}

inline Status gaussian_entropy_forward(const GaussianEntropyForward& a, const Launch& launch) {
  return with_type(a.wide, false, [&](auto engine, auto plain) {
    using E = decltype(engine);
    return reduce<E, EntropyForward<E, decltype(plain)::value>>(a, {&a.entropy}, launch);
  });
}

inline Status gaussian_entropy_backward(const GaussianEntropyBackward& a, const Launch& launch) {
  return with_type(a.wide, false, [&](auto engine, auto plain) {
    using E = decltype(engine);
    return map<E, EntropyBackward<E, decltype(plain)::value>>(a, launch);
  });
}

}  // namespace genkern::GENKERN_ISA
