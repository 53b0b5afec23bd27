// Refuses a compiler, or options, with which the kernels would silently compute wrong numbers.
//
// The kernels need the arithmetic of IEEE 754. Each operation is rounded once, to its own type, and in the order in which
// it is written. NaN, the infinities and the sign of zero are kept.

#pragma once

#include <cfloat>

// MSVC has macros of its own for both questions. On 32-bit x86 it uses SSE2 unless it is told not to.
#if defined(_MSC_VER) && !defined(__clang__)

#if defined(_M_IX86_FP) && _M_IX86_FP < 2
#error "leakyrelu needs floats that are rounded after each operation, which x87 does not do. Compile with /arch:SSE2."
#endif
#if defined(_M_FP_FAST)
#error "leakyrelu needs IEEE 754 arithmetic, which /fp:fast gives up. Compile with /fp:precise."
#endif

#else

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__NO_SIGNED_ZEROS__) || \
    (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "leakyrelu needs IEEE 754 arithmetic, which -ffast-math and its parts give up. Compile without these options."
// 16 concerns _Float16 alone: float and double are then rounded to their own types, as with 0.
#elif FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "leakyrelu needs floats that are rounded after each operation. On 32-bit x86, compile with -msse2 -mfpmath=sse."
#endif

#endif
