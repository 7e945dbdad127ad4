// The residual head on the CPU: which driver runs which tile.
#pragma once

#include "cpu/launch.h"
#include "tiles/hierarchical.h"

namespace genkern::GENKERN_ISA {

inline Status gaussian_residual_forward(const GaussianResidualForward& a, const Launch& launch) {
  return with_type(a.wide, is_plain(a), [&](auto engine, auto plain) {
    using E = decltype(engine);
    return reduce<E, ResidualForward<E, decltype(plain)::value>>(a, {&a.kl, &a.log_q, &a.log_p}, launch);
  });
}

inline Status gaussian_residual_backward(const GaussianResidualBackward& a, const Launch& launch) {
  return with_type(a.wide, is_plain(a), [&](auto engine, auto plain) {
    using E = decltype(engine);
    return map<E, ResidualBackward<E, decltype(plain)::value>>(a, launch);
  });
}

}  // namespace genkern::GENKERN_ISA
