// Defines the kernels that are tiles, of those that the list GK_KERNELS has.
#include "backend.h"

namespace genkern::GK_BACKEND {

#define TILE(name, Arguments, ...) \
  Status name(const Arguments& a, const Launch& launch) { return run_tile<__VA_ARGS__>(a, launch); }
#define KERNEL(name, Arguments)
#include GK_KERNELS
#undef TILE
#undef KERNEL

}  // namespace genkern::GK_BACKEND
