// Run-time options of the formulas.
#pragma once

#include <cstdint>

namespace genkern {

enum class ScaleParam : uint8_t { logvar, logstd, std, var, softplus };
enum class ClampMode : uint8_t { none, hard, straight_through, softclip, tanh };

struct ScaleOptions {
  ScaleParam param = ScaleParam::logvar;
  ClampMode clamp = ClampMode::none;
  double offset = 0.0, lo = 0.0, hi = 0.0;
};

}  // namespace genkern
