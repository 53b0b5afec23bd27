// float16 and bfloat16, a vector at a time. Knows neither Python nor NumPy.
//
// What is computed, scalar.hpp says: its operations take vectors, for which `widen`, `slope` and `product` are here.
//
// The product of a 16-bit number and a float32 has up to 35 bits. Rounded first to the 24 of a float32 and then to the
// `digits` of the result it would be rounded twice, which is wrong where the first rounding ends on a tie, halfway
// between two results, that the product itself is not. How an instruction set avoids that is told with `multiply`.
//
// A vector of which a result is infinite or NaN is left to the functions on one number, for the right NaN and flags.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "half.hpp"
#include "isa.hpp"
#include "scalar.hpp"
#include "slopes.hpp"

#if defined(__AVX512BW__)
#if defined(__clang__)
#include <immintrin.h>
#else  // GCC 12 warns of its own header
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif
#define LEAKYRELU_HALF_SIMD
#endif

namespace leakyrelu {
namespace LEAKYRELU_ISA {

#ifdef LEAKYRELU_HALF_SIMD

#if defined(__AVX512BW__)
#define LEAKYRELU_REGISTER __attribute__((vector_size(64)))
#elif defined(__AVX2__)
#define LEAKYRELU_REGISTER __attribute__((vector_size(32)))
#else
#define LEAKYRELU_REGISTER __attribute__((vector_size(16)))
#endif
using Float32 = LEAKYRELU_REGISTER float;
using Bits32 = LEAKYRELU_REGISTER std::uint32_t;
using Bits16 = LEAKYRELU_REGISTER std::uint16_t;

// As many numbers X, of 16 bits, as a register holds.
template <class X>
struct Vector;
template <>
struct Vector<half> {
  static constexpr int digits = 11;
  static constexpr int min_exponent = -14;
  static constexpr std::uint16_t infinity = 0x7c00;
  Bits16 bits;
};
template <>
struct Vector<bfloat16> {
  static constexpr int digits = 8;
  static constexpr int min_exponent = -126;
  static constexpr std::uint16_t infinity = 0x7f80;
  Bits16 bits;
};
template <class X>
struct Arithmetic<Vector<X>> {
  using result = Vector<X>;
};

// The same numbers as float32: of float16, the first and the second half of them; of bfloat16, which is the upper half
// of a float32, those of even and those of odd index.
struct Floats {
  Float32 first, second;
};

inline Float32 broadcast(float x) { return bit_cast<Float32>(Bits32{} + bit_cast<std::uint32_t>(x)); }

// One slope for a vector, or one for each of its numbers. `ties`: whether a product may be one.
template <bool ties>
struct Alphas : Floats {
  explicit Alphas(float alpha) : Floats{broadcast(alpha), broadcast(alpha)} {}
  explicit Alphas(Floats alpha) : Floats(alpha) {}
};

#if defined(__AVX512BW__)

inline Floats deinterleave(Float32 a, Float32 b) {
  const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
  return {_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b)};
}

inline Floats widen(Vector<half> x) {
  const __m512i bits = bit_cast<__m512i>(x.bits);
  return {_mm512_cvt_roundph_ps(_mm512_castsi512_si256(bits), _MM_FROUND_NO_EXC),
          _mm512_cvt_roundph_ps(_mm512_extracti64x4_epi64(bits, 1), _MM_FROUND_NO_EXC)};
}

inline Vector<half> narrow_halves(Bits32 first, Bits32 second) {
  constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  const __m256i lower = _mm512_cvt_roundps_ph(bit_cast<__m512>(first), nearest);
  const __m256i upper = _mm512_cvt_roundps_ph(bit_cast<__m512>(second), nearest);
  return {bit_cast<Bits16>(_mm512_inserti64x4(_mm512_castsi256_si512(lower), upper, 1))};
}

inline bool any_equal(Bits16 a, Bits16 b) { return _mm512_cmpeq_epi16_mask(bit_cast<__m512i>(a), bit_cast<__m512i>(b)) != 0; }

// The slope is multiplied by under a mask; elsewhere the number stays what it is.
struct Choice {
  __mmask16 negative;
  Float32 alpha;
};

inline Choice choose(Float32 x, Float32 alpha) {
  return {_mm512_cmp_round_ps_mask(x, _mm512_setzero_ps(), _CMP_NGE_UQ, _MM_FROUND_NO_EXC), alpha};
}

// Whether a float32 that is no zero has more than digits + 1 bits from its first to its last 1.
constexpr std::uint32_t last_bits(int digits) { return (1u << (23 - digits)) - 1; }

template <class X>
bool may_tie(float alpha) {
  const std::uint32_t bits = bit_cast<std::uint32_t>(alpha);
  return (bits & last_bits(Vector<X>::digits)) == 0 || !std::isnormal(alpha);
}

// AVX-512 rounds towards zero where it is told to, and without a flag. A product is so cut off to float32; and if then
// its last bit is set wherever anything was cut off ("rounding to odd"), it lies between the same two ties as before.
//
// Whether that bit is to be set, the slope alone tells. Let s be the slope without the zeros behind its last 1, as an
// odd integer, and x the number likewise.
//  - s has more than digits + 1 bits: then so has s x, which a tie has not. The bit is set always: what is no tie and
//    is exact will not be lost by it.
//  - s has less: then s x has at most 2 digits + 1, and nothing is cut off a normal float32. A subnormal one is 0 as
//    float16; as bfloat16 it would be mistaken for a tie if it had 17 bits, of which the last alone is cut off, and
//    the first alone is not 0: that is 65537, a prime.
//  - The slope is subnormal: then s says nothing, and a NaN in its place leaves it to the functions on one number.
template <class X, bool ties>
inline Bits32 multiply(Float32 x, Choice slope) {
  __m512 alpha = slope.alpha;
  if constexpr (ties) {
    constexpr int subnormal_or_nan = 0x20 | 0x01 | 0x80;
    alpha = _mm512_mask_mov_ps(alpha, _mm512_fpclass_ps_mask(alpha, subnormal_or_nan), _mm512_set1_ps(NAN));
  }
  Bits32 product = bit_cast<Bits32>(_mm512_mask_mul_round_ps(x, slope.negative, x, alpha, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
  if constexpr (ties) {
    const __mmask16 many = _mm512_test_epi32_mask(bit_cast<__m512i>(alpha), _mm512_set1_epi32(last_bits(X::digits)));
    product |= bit_cast<Bits32>(_mm512_maskz_set1_epi32(many, 1));
  } else if constexpr (X::digits > 8) {
    product |= 1u;
  }
  if constexpr (X::digits > 8) {
    return product;
  } else if constexpr (ties) {
    return product + 0x7fffu + ((product >> 16) & 1u);
  } else {
    return product + 0x8000u;
  }
}

#endif

inline Floats widen(Vector<bfloat16> x) {
  const Bits32 pairs = bit_cast<Bits32>(x.bits);
  return {bit_cast<Float32>(pairs << 16), bit_cast<Float32>(pairs & 0xffff0000u)};
}

template <class Result>
inline Result join(Bits32 first, Bits32 second);
template <>
inline Vector<half> join<Vector<half>>(Bits32 first, Bits32 second) {
  return narrow_halves(first, second);
}
template <>
inline Vector<bfloat16> join<Vector<bfloat16>>(Bits32 first, Bits32 second) {
  return {bit_cast<Bits16>((first >> 16) | (second & 0xffff0000u))};
}

template <bool ties>
struct Choices {
  Choice first, second;
};

template <class Slope, bool ties>
inline Choices<ties> slope(Floats x, Alphas<ties> alpha) {
  return {choose(x.first, alpha.first), choose(x.second, alpha.second)};
}

template <class Result, bool ties>
inline Result product(Floats x, Choices<ties> slope) {
  return join<Result>(multiply<Result, ties>(x.first, slope.first), multiply<Result, ties>(x.second, slope.second));
}

template <class Register, class T>
inline Register load(const T* from) {
  Register to;
  std::memcpy(&to, from, sizeof to);
  return to;
}

template <class X, bool ties>
inline Alphas<ties> load_alphas(Constant<float> alpha) {
  return Alphas<ties>(alpha.value);
}
template <class X, bool ties>
inline Alphas<ties> load_alphas(Each<float> alpha) {
  const Float32 a = load<Float32>(alpha.slopes);
  const Float32 b = load<Float32>(alpha.slopes + sizeof(Float32) / sizeof(float));
  return Alphas<ties>(sizeof(X) == 2 && Vector<X>::digits == 8 ? deinterleave(a, b) : Floats{a, b});
}

template <class Operation, class Slopes, class X, class... Xs>
[[gnu::noinline]] void one_by_one(Slopes alpha, X* result, std::size_t size, const Xs*... x) {
#pragma omp simd
  for (std::size_t i = 0; i < size; ++i) {
    result[i] = Operation::of(alpha[i], x[i]...);
  }
}

template <class Operation, bool ties, class Slopes, class X, class... Xs>
inline std::size_t vectors(Slopes alpha, X* result, std::size_t size, const Xs*... x) {
  constexpr std::size_t lanes = sizeof(Bits16) / sizeof(X);
  constexpr std::uint16_t infinity = Vector<X>::infinity;
  std::size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const Vector<X> y = Operation::of(load_alphas<X, ties>(alpha + i), Vector<Xs>{load<Bits16>(x + i)}...);
    if (__builtin_expect(any_equal(y.bits & infinity, Bits16{} + infinity), false)) {
      one_by_one<Operation>(alpha + i, result + i, lanes, (x + i)...);
    } else {
      std::memcpy(result + i, &y, sizeof y);
    }
  }
  return i;
}

template <class Operation, class X, class... Xs>
inline std::size_t run_vectors(Constant<float> alpha, X* result, std::size_t size, const Xs*... x) {
  return may_tie<X>(alpha.value) ? vectors<Operation, true>(alpha, result, size, x...)
                                 : vectors<Operation, false>(alpha, result, size, x...);
}

template <class Operation, class X, class... Xs>
inline std::size_t run_vectors(Each<float> alpha, X* result, std::size_t size, const Xs*... x) {
  return vectors<Operation, true>(alpha, result, size, x...);
}

#else

template <class Operation, class Slopes, class X, class... Xs>
inline std::size_t run_vectors(Slopes, X*, std::size_t, const Xs*...) {
  return 0;
}

#endif

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
