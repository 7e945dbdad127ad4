// exp, log, log1p and cos_sin_2pi on vectors: float by polynomials, double by the C library, lane by lane (training
// runs in float).
#pragma once

#include "cpu/vec.h"
#include "math/normal.h"
#include "math/numeric.h"

namespace genkern::GENKERN_ISA {

GK_INLINE F32 exp(F32 x) { return elementary::exp(x); }
GK_INLINE F32 tail_exp(F32 x) { return elementary::tail_exp(x); }
GK_INLINE F32 log(F32 x) { return elementary::log(x); }
GK_INLINE F32 log_unit(F32 x) { return elementary::log_normal(x); }
GK_INLINE F32 log1p(F32 x) { return elementary::log1p(x); }
GK_INLINE F32 log1p_unit(F32 x) { return elementary::log1p_unit(x); }
GK_INLINE Expm1<F32> expm1_terms(F32 x) { return elementary::expm1_terms(x); }
GK_INLINE ExpRoot<F32> exp_root_terms(F32 x) { return elementary::exp_root_terms<false>(x); }
GK_INLINE ExpRoot<F32> tail_root_terms(F32 x) { return elementary::exp_root_terms<true>(x); }
GK_INLINE Pair<F32> cos_sin_2pi(F32 u) { return elementary::cos_sin_2pi(u); }

#define GENKERN_BY_LANE(name)                                     \
  GK_INLINE F64 name(F64 x) {                                     \
    for (int i = 0; i < F64::lanes; ++i) x.v[i] = ::name(x.v[i]); \
    return x;                                                     \
  }
GENKERN_BY_LANE(exp)
GENKERN_BY_LANE(log)
GENKERN_BY_LANE(log1p)
#undef GENKERN_BY_LANE

GK_INLINE F64 tail_exp(F64 x) { return exp(x); }
GK_INLINE F64 log1p_unit(F64 x) { return log1p(x); }

GK_INLINE Expm1<F64> expm1_terms(F64 x) { return expm1_by_series(x); }
GK_INLINE ExpRoot<F64> exp_root_terms(F64 x) { return {exp(F64(0.5) * x), expm1_terms(x)}; }
GK_INLINE ExpRoot<F64> tail_root_terms(F64 x) { return exp_root_terms(x); }

}  // namespace genkern::GENKERN_ISA
