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

enum class Cdf : uint8_t { exact, tanh };

// Bins of width 2 half; that of an x beyond `below` or `above` reaches to infinity. log_half is a number even where
// half, in the type of arithmetic, is 0.
struct Bins {
  double half = 0.0, log_half = 0.0, below = 0.0, above = 0.0;
};

// What a GAN's loss makes of a logit x: weight ((1 - smoothing) f(u) + smoothing f(-u)), u = sign x + shift.
enum class GanShape : uint8_t { linear, softplus, hinge, square };

struct GanTerm {
  GanShape shape = GanShape::linear;
  double sign = 1.0, shift = 0.0, smoothing = 0.0, weight = 1.0;
};

// What is given of the mean of a negative binomial distribution: itself, its logarithm, or that of its ratio to the
// inverse dispersion.
enum class MeanParam : uint8_t { value, log, logits };

// Options of terms (kernels.h).
struct TermOptions {
  double label_smoothing = 0.0;       // of a Bernoulli distribution
  bool log_rate = false;              // of a Poisson distribution
  bool full = true;                   // with the term that no parameter changes
  MeanParam mean = MeanParam::value;  // of a negative binomial distribution, with
  bool log_dispersion = false;
  bool by_x = false;  // whether a gradient by x is asked for
};

}  // namespace genkern
