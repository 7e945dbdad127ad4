// CUDA's built-in vector types, with CUDA's alignments: a 16-byte access through a misaligned pointer is a fault on a
// GPU, and one that UBSan reports here.
#pragma once

namespace emulator {

// The alignment of N values of T: that of the whole where its size is a power of two, at most 16 bytes.
template <class T, int N>
inline constexpr int vector_alignment = N == 3               ? sizeof(T)
                                        : N * sizeof(T) > 16 ? 16
                                                             : N * sizeof(T);

}  // namespace emulator

#define EMULATOR_VECTORS(name, T)                                               \
  struct alignas(::emulator::vector_alignment<T, 1>) name##1 { T x; };          \
  struct alignas(::emulator::vector_alignment<T, 2>) name##2 { T x, y; };       \
  struct alignas(::emulator::vector_alignment<T, 3>) name##3 { T x, y, z; };    \
  struct alignas(::emulator::vector_alignment<T, 4>) name##4 { T x, y, z, w; }; \
  constexpr name##1 make_##name##1(T x) { return {x}; }                         \
  constexpr name##2 make_##name##2(T x, T y) { return {x, y}; }                 \
  constexpr name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }         \
  constexpr name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

EMULATOR_VECTORS(char, signed char)
EMULATOR_VECTORS(uchar, unsigned char)
EMULATOR_VECTORS(short, short)
EMULATOR_VECTORS(ushort, unsigned short)
EMULATOR_VECTORS(int, int)
EMULATOR_VECTORS(uint, unsigned)
EMULATOR_VECTORS(long, long)
EMULATOR_VECTORS(ulong, unsigned long)
EMULATOR_VECTORS(longlong, long long)
EMULATOR_VECTORS(ulonglong, unsigned long long)
EMULATOR_VECTORS(float, float)
EMULATOR_VECTORS(double, double)
#undef EMULATOR_VECTORS

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};
