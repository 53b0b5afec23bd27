// The instruction set that this translation unit is compiled for, and what the compiler offers.
//
// The kernels are compiled once for each instruction set, with compiler options of its own, and the module picks one at
// import. Each has a namespace of its own. Without it, the linker could take a function that is compiled for one
// instruction set for the same function of another.

#pragma once

#ifndef LEAKYRELU_ISA
#define LEAKYRELU_ISA baseline
#endif

// half_simd.hpp is written in GCC's vector extensions: types of vectors, with operators. Clang has them too, also as
// clang-cl. MSVC does not, though with /arch:AVX512 it defines the macros of these instruction sets.
#if !defined(LEAKYRELU_VECTOR_EXTENSIONS)  // the tests switch them off
#if defined(__GNUC__) || defined(__clang__)
#define LEAKYRELU_VECTOR_EXTENSIONS 1
#else
#define LEAKYRELU_VECTOR_EXTENSIONS 0
#endif
#endif

// MSVC defines no __SSE2__.
#if defined(__SSE2__) || defined(_M_X64) || (defined(_M_IX86_FP) && _M_IX86_FP >= 2)
#define LEAKYRELU_SSE2 1
#else
#define LEAKYRELU_SSE2 0
#endif

#if defined(__GNUC__) || defined(__clang__)
#define LEAKYRELU_INLINE [[gnu::always_inline]] inline
#define LEAKYRELU_NOINLINE [[gnu::noinline]]
#elif defined(_MSC_VER)
#define LEAKYRELU_INLINE __forceinline
#define LEAKYRELU_NOINLINE __declspec(noinline)
#else
#define LEAKYRELU_INLINE inline
#define LEAKYRELU_NOINLINE
#endif
