// For wheels: nothing of a C library newer than 2.28, whatever the machine that builds has (manylinux_2_28, PEP 600).
// Included before every file of a wheel's binaries, by the compiler's -include.
#pragma once

#ifndef __CUDA_ARCH__  // which has no C library
// These two were given a new version in 2.29, with the same values; it spares a wrapper that sets errno.
__asm__(".symver exp, exp@GLIBC_2.2.5");
__asm__(".symver log, log@GLIBC_2.2.5");

// Since 2.32 a reference count asks it whether the process has one thread. Here it never has.
extern "C" {
__attribute__((weak, visibility("hidden"))) char __libc_single_threaded = 0;
}
#endif
