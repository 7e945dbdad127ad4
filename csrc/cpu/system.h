// Everything the kernels take from the system, included before any target pragma: an inline function of a
// system header must not be compiled for an instruction set that the machine may lack.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels.h"
