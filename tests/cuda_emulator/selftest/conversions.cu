// Conversions and device functions, an array at a time.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

extern "C" {

void to_half(const float* x, unsigned short* out, long n) {
  for (long i = 0; i < n; ++i) out[i] = __half_as_ushort(__float2half_rn(x[i]));
}
void from_half(const unsigned short* x, float* out, long n) {
  for (long i = 0; i < n; ++i) out[i] = __half2float(__ushort_as_half(x[i]));
}
void to_bfloat16(const float* x, unsigned short* out, long n) {
  for (long i = 0; i < n; ++i) out[i] = __bfloat16_as_ushort(__float2bfloat16_rn(x[i]));
}
void from_bfloat16(const unsigned short* x, float* out, long n) {
  for (long i = 0; i < n; ++i) out[i] = __bfloat162float(__ushort_as_bfloat16(x[i]));
}

// By pairs; n is even.
void to_half2(const float* x, unsigned short* out, long n) {
  for (long i = 0; i < n; i += 2) {
    const __half2 pair = i % 4 ? __floats2half2_rn(x[i], x[i + 1]) : __float22half2_rn(make_float2(x[i], x[i + 1]));
    const float2 back = __half22float2(pair);
    out[i] = __half_as_ushort(__float2half(back.x)), out[i + 1] = __half_as_ushort(__high2half(pair));
  }
}
void to_bfloat162(const float* x, unsigned short* out, long n) {
  for (long i = 0; i < n; i += 2) {
    const __nv_bfloat162 pair =
        i % 4 ? __floats2bfloat162_rn(x[i], x[i + 1]) : __float22bfloat162_rn(make_float2(x[i], x[i + 1]));
    const float2 back = __bfloat1622float2(pair);
    out[i] = __bfloat16_as_ushort(__float2bfloat16(back.x)), out[i + 1] = __bfloat16_as_ushort(__high2bfloat16(pair));
  }
}

void sin_cos_pi(const double* x, double* sin, double* cos, float* sinf, float* cosf, long n) {
  for (long i = 0; i < n; ++i) {
    sincospi(x[i], &sin[i], &cos[i]);
    sincospif(static_cast<float>(x[i]), &sinf[i], &cosf[i]);
  }
}
float reciprocal_root(float x) { return rsqrtf(x); }

void bits(unsigned x, unsigned y, int* out) {
  out[0] = __popc(x), out[1] = __clz(static_cast<int>(x)), out[2] = __ffs(static_cast<int>(x));
  out[3] = static_cast<int>(__umulhi(x, y)), out[4] = static_cast<int>(__float_as_uint(__uint_as_float(x)));
}

// Sizes and alignments, in the order of LAYOUTS in test_emulator_conversions.py.
void layouts(int* out) {
  const auto layout = [&]<class T>(T) { *out++ = sizeof(T), *out++ = alignof(T); };
  layout(float2{}), layout(float3{}), layout(float4{}), layout(double2{}), layout(double4{}), layout(int2{});
  layout(uint4{}), layout(short4{}), layout(ushort2{}), layout(uchar4{}), layout(longlong2{}), layout(__half{});
  layout(__half2{}), layout(__nv_bfloat16{}), layout(__nv_bfloat162{});
}

}  // extern "C"
