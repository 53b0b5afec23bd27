// The instruction set this translation unit is compiled for.
//
// The kernels are compiled once for each, under compiler flags of their own, and the module picks one at import.
// A namespace for each keeps the linker from taking a function of one for the same function of another.

#pragma once

#ifndef LEAKYRELU_ISA
#define LEAKYRELU_ISA baseline
#endif

#if defined(__GNUC__)
#define LEAKYRELU_INLINE [[gnu::always_inline]] inline
#else
#define LEAKYRELU_INLINE inline
#endif
