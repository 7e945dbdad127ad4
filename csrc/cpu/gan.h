// The GAN family on the CPU: which driver runs which tile.
#pragma once

#include "cpu/launch.h"
#include "tiles/gan.h"

namespace genkern::GENKERN_ISA {

inline Status gan_loss_forward(const GanLossForward& a, const Launch& launch) {
  return with_type(a.wide, false, [&](auto engine, auto) {
    using E = Flushing<decltype(engine)>;
    return reduce<E, GanLossForwardTile<E>>(a, {&a.loss}, launch);
  });
}

inline Status gan_loss_backward(const GanLossBackward& a, const Launch& launch) {
  return with_type(a.wide, false, [&](auto engine, auto) {
    using E = Flushing<decltype(engine)>;
    return map<E, GanLossBackwardTile<E>>(a, launch);
  });
}

inline Status interpolate_forward(const InterpolateForward& a, const Launch& launch) {
  return with_type(a.wide, false, [&](auto engine, auto) {
    using E = decltype(engine);
    return map<E, InterpolateForwardTile<E>>(a, launch);
  });
}

inline Status interpolate_backward(const InterpolateBackward& a, const Launch& launch) {
  return with_type(a.wide, false, [&](auto engine, auto) {
    using E = decltype(engine);
    using Tile = InterpolateBackwardTile<E>;
    return a.d_eps.out ? reduce<E, Tile>(a, {&a.d_eps}, launch) : map<E, Tile>(a, launch);
  });
}

inline Status squared_norm(const SquaredNorm& a, const Launch& launch) {
  return with_type(a.wide, false, [&](auto engine, auto) {
    using E = decltype(engine);
    return reduce<E, SquaredNormTile<E>>(a, {&a.squares}, launch);
  });
}

inline Status centered_norm(const CenteredNorm& a, const Launch& launch) {
  return with_type(a.wide, false, [&](auto engine, auto) {
    using E = decltype(engine);
    return reduce<E, CenteredNormTile<E>>(a, {&a.penalty}, launch);
  });
}

inline Status norm_backward(const NormBackward& a, const Launch& launch) {
  return with_type(a.wide, false, [&](auto engine, auto) {
    using E = decltype(engine);
    return map<E, NormBackwardTile<E>>(a, launch);
  });
}

inline Status group_stddev_forward(const GroupStddevForward& a, const Launch& launch) {
  return with_type(a.wide, false, [&](auto engine, auto) {
    using E = decltype(engine);
    return reduce<E, GroupStddevForwardTile<E>>(a, {&a.stddev}, launch);
  });
}

inline Status group_stddev_backward(const GroupStddevBackward& a, const Launch& launch) {
  return with_type(a.wide, false, [&](auto engine, auto) {
    using E = decltype(engine);
    return map<E, GroupStddevBackwardTile<E>>(a, launch);
  });
}

}  // namespace genkern::GENKERN_ISA
