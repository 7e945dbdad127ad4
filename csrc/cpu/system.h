// The system's headers, and those of ours that are the same for every instruction set. They are included before any
// target pragma: of a function that several translation units share the linker keeps one copy, which must not be
// compiled for instructions that the machine may lack.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "kernels.h"
#include "tiles/traits.h"
