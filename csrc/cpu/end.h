// Ends what cpu/begin.h begins. (A pragma of GCC's lasts as long as the file.)
#if defined(__clang__) && defined(GENKERN_FEATURES)
#pragma clang attribute pop
#endif
