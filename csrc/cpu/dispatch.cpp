#include "cpu/dispatch.h"

#include <cstring>
#include <utility>

namespace genkern {

extern const Kernels kBaseline;
#if defined(__x86_64__)
extern const Kernels kAvx2, kAvx512;
#endif

namespace {

bool supported(const Kernels& k) {
#if defined(__x86_64__)
  if (&k == &kAvx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  if (&k == &kAvx2)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("f16c");
#endif
  return &k == &kBaseline;
}

const Kernels* chosen = nullptr;
std::vector<const Kernels*> added;

}  // namespace

const std::vector<const Kernels*>& cpu_kernels_available() {
  static const std::vector<const Kernels*> available = [] {
    std::vector<const Kernels*> found;
#if defined(__x86_64__)
    for (const Kernels* k : {&kAvx512, &kAvx2})
      if (supported(*k)) found.push_back(k);
#endif
    found.push_back(&kBaseline);
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

void add_cpu_kernels(const Kernels& kernels) { added.push_back(&kernels); }

}  // namespace genkern
