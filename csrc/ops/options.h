// The options that schemas share, in their order: the fragments of genkern/functional/_gaussian_ops.py as parameters,
// and as values.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels.h"
#include "ops/common.h"
#include "ops/random.h"

#define SAMPLE_OPTIONS at::IntArrayRef sample_shape, double temperature, int64_t element_offset
#define SCALE_OPTIONS                                                                                                \
  std::string_view scale_param, double scale_offset, std::optional<double> clamp_lo, std::optional<double> clamp_hi, \
      std::string_view clamp_mode
#define KL_OPTIONS double free_bits, double grad_scale_q, double grad_scale_p
#define REDUCE_OPTIONS std::string_view reduction, std::string_view units, std::optional<int64_t> event_ndim
#define SCALE parse_scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
#define REDUCE \
  ReduceOptions { reduction, units, event_ndim }
#define SAMPLE_VALUES sample_shape, temperature, element_offset
#define SCALE_VALUES scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode
#define KL_VALUES free_bits, grad_scale_q, grad_scale_p
#define REDUCE_VALUES reduction, units, event_ndim
#define HEAD_VALUES SAMPLE_VALUES, SCALE_VALUES, KL_VALUES, REDUCE_VALUES

// A function that registers kernels, for every device that has some.
#ifdef GENKERN_WITH_CUDA
#define GENKERN_FOR_EACH_DEVICE(register_kernels)              \
  TORCH_LIBRARY_IMPL(genkern, CPU, m) { register_kernels(m); } \
  TORCH_LIBRARY_IMPL(genkern, CUDA, m) { register_kernels(m); }
#else
#define GENKERN_FOR_EACH_DEVICE(register_kernels) \
  TORCH_LIBRARY_IMPL(genkern, CPU, m) { register_kernels(m); }
#endif

namespace genkern {

struct ReduceOptions {
  std::string_view reduction, units;
  std::optional<int64_t> event_ndim;
};

// The outermost bins begin 0.1 % of half the range before its ends, or half a bin if that is less.
inline Bins bins_of(int64_t bins, double low, double high) {
  const double half = (high - low) / (2.0 * static_cast<double>(bins - 1)),
               margin = std::min(0.0005 * (high - low), half);
  return {half, std::log(half), low + margin, high - margin};
}

struct SampleOptions {
  NoiseOrigin noise;
  at::IntArrayRef shape;
  double temperature;
  int64_t element_offset;
};

}  // namespace genkern
