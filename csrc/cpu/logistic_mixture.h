// The mixture of discretized logistics on the CPU: which driver runs which tile.
#pragma once

#include "cpu/launch.h"
#include "tiles/logistic_mixture.h"

namespace genkern::GENKERN_ISA {

inline Status logistic_mixture_forward(const LogisticMixtureForward& a, const Launch& launch) {
  return with_type(a.wide, false, [&](auto engine, auto) {
    using E = decltype(engine);
    return a.coupled ? reduce<E, RgbMixtureForward<E>>(a, {&a.nll}, launch)
                     : reduce<E, ChannelMixtureForward<E>>(a, {&a.nll}, launch);
  });
}

inline Status logistic_mixture_backward(const LogisticMixtureBackward& a, const Launch& launch) {
  return with_type(a.wide, false, [&](auto engine, auto) {
    using E = decltype(engine);
    return a.coupled ? map<E, RgbMixtureBackward<E>>(a, launch) : map<E, ChannelMixtureBackward<E>>(a, launch);
  });
}

}  // namespace genkern::GENKERN_ISA
