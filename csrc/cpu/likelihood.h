// Likelihoods of data on the CPU: which driver runs which tile.
#pragma once

#include "cpu/gaussian.h"
#include "tiles/likelihood.h"

namespace genkern::GENKERN_ISA {

inline Status bernoulli_nll_forward(const BernoulliNllForward& a, const Launch& launch) {
  return with_type(a.wide, is_plain(a), [&](auto engine, auto) {
    using E = Flushing<decltype(engine)>;
    return reduce<E, BernoulliForward<E>>(a, {&a.nll}, launch);
  });
}

inline Status bernoulli_nll_backward(const BernoulliNllBackward& a, const Launch& launch) {
  return with_type(a.wide, is_plain(a), [&](auto engine, auto) {
    using E = Flushing<decltype(engine)>;
    return map<E, BernoulliBackward<E>>(a, launch);
  });
}

inline Status discretized_gaussian_nll_forward(const LocScaleNllForward& a, const Launch& launch) {
  return nll_forward<DiscretizedForward>(a, launch);
}

inline Status discretized_gaussian_nll_backward(const LocScaleNllBackward& a, const Launch& launch) {
  return nll_backward<DiscretizedBackward>(a, launch);
}

}  // namespace genkern::GENKERN_ISA
