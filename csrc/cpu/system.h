// What the kernels take from the system, and of ours what is the same for every instruction set, included before any
// target pragma: a function that several translation units share, of which the linker keeps one, must not be compiled
// for instructions that the machine may lack.
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
