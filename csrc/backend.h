// The kernels of a backend, which defines each of them in namespace GK_BACKEND, and their table.
#pragma once

#include "kernels.h"

namespace genkern::GK_BACKEND {

#define KERNEL(name, Arguments) Status name(const Arguments& a, const Launch& launch);
#define WORKSPACE(name, Arguments)              \
  int64_t name##_workspace(const Arguments& a); \
  KERNEL(name, Arguments)
#include "kernels.def"

constexpr Kernels make_kernels(const char* backend, bool sums,
                               int64_t (*workspace)(const Extent&, Reduction, int losses)) {
  return {
      backend,
      sums,
      workspace,
#define KERNEL(name, Arguments) name,
#define WORKSPACE(name, Arguments) name##_workspace, name,
#include "kernels.def"
  };
}

}  // namespace genkern::GK_BACKEND
