// The code from here to cpu/end.h is compiled for the instructions of GENKERN_FEATURES.
#define GENKERN_TEXT(...) #__VA_ARGS__
#define GENKERN_PRAGMA(...) _Pragma(GENKERN_TEXT(__VA_ARGS__))
#if defined(__clang__)
GENKERN_PRAGMA(clang attribute push(__attribute__((target(GENKERN_FEATURES))), apply_to = function))
#else
GENKERN_PRAGMA(GCC target(GENKERN_FEATURES))
#endif
