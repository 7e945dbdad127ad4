#include "cpu/dispatch.h"

#include <cstring>
#include <utility>

#include "cpu/chunks.h"

namespace genkern {

#if defined(__x86_64__)
extern const Kernels kAvx512, kAvx2, kBaseline;
#elif defined(__aarch64__)
extern const Kernels kNeon;
#else
extern const Kernels kBaseline;
#endif

namespace {

const Kernels* chosen = nullptr;
std::vector<const Kernels*> added;

}  // namespace

const std::vector<const Kernels*>& cpu_kernels_available() {
  static const std::vector<const Kernels*> available = [] {
    std::vector<const Kernels*> found;
#if defined(__x86_64__)
    const bool fma = __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    if (fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd"))
      found.push_back(&kAvx512);
    if (fma && __builtin_cpu_supports("avx2")) found.push_back(&kAvx2);  // with it every processor has f16c
#endif
#if defined(__aarch64__)
    found.push_back(&kNeon);
#else
    found.push_back(&kBaseline);
#endif
    return found;
  }();
  return available;
}

const Kernels& cpu_kernels() { return chosen ? *chosen : *cpu_kernels_available().front(); }

bool choose_cpu_kernels(const char* isa) {
  for (const auto* tables : {&cpu_kernels_available(), &std::as_const(added)})
    for (const Kernels* k : *tables)
      if (std::strcmp(k->name, isa) == 0) {
        chosen = k;
        return true;
      }
  return false;
}

int64_t workspace_size(const Extent& extent, Reduction reduction, int losses) {
  const Chunks chunks(extent);
  const bool needed = reduction == Reduction::total || (reduction == Reduction::event && chunks.pieces > 1);
  return needed ? losses * chunks.count() : 0;
}

void add_cpu_kernels(const Kernels& kernels) { added.push_back(&kernels); }

}  // namespace genkern
