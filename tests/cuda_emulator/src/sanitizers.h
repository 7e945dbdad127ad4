// What the sanitizers have to be told about fibres, empty where none is in use. src/ itself is compiled without
// instrumentation: the scheduler's own state is shared by all fibres and would be reported as racing. For the same
// reason a fibre in the scheduler neither allocates nor calls memset and the like, which ThreadSanitizer intercepts.
#pragma once

#include <cstddef>

#ifdef EMULATOR_ADDRESS
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef EMULATOR_THREAD
#include <sanitizer/tsan_interface.h>
#endif

namespace emulator {

#ifdef EMULATOR_THREAD
inline constexpr bool kThreadSanitizer = true;
inline void* race_fibre() { return __tsan_create_fiber(0); }
inline void* current_race_fibre() { return __tsan_get_current_fiber(); }
inline void destroy_race_fibre(void* fibre) { __tsan_destroy_fiber(fibre); }
// A switch orders nothing: only barriers and atomics do.
inline void switch_race_fibre(void* fibre) { __tsan_switch_to_fiber(fibre, __tsan_switch_to_fiber_no_sync); }
inline void release(void* address) { __tsan_release(address); }
inline void acquire(void* address) { __tsan_acquire(address); }
#else
inline constexpr bool kThreadSanitizer = false;
inline void* race_fibre() { return nullptr; }
inline void* current_race_fibre() { return nullptr; }
inline void destroy_race_fibre(void*) {}
inline void switch_race_fibre(void*) {}
inline void release(void*) {}
inline void acquire(void*) {}
#endif

#ifdef EMULATOR_ADDRESS
inline void start_switch(void** from, const void* bottom, size_t size) {
  __sanitizer_start_switch_fiber(from, bottom, size);
}
inline void finish_switch(void* to, const void** from_bottom, size_t* from_size) {
  __sanitizer_finish_switch_fiber(to, from_bottom, from_size);
}
inline void forget_frames(void* bottom, size_t size) { __asan_unpoison_memory_region(bottom, size); }
#else
inline void start_switch(void**, const void*, size_t) {}
inline void finish_switch(void*, const void**, size_t*) {}
inline void forget_frames(void*, size_t) {}
#endif

}  // namespace emulator
