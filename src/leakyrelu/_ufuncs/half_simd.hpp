// float16 and bfloat16, a vector at a time. Knows neither Python nor NumPy.
//
// scalar.hpp says what is computed. Its operations take vectors too, for which `widen`, `slope` and `product` are here.
//
// The product of a 16-bit number and a float32 has up to 35 bits. Rounding it first to the 24 bits of a float32 and then
// to the `digits` of the result would be wrong where the first rounding gives a tie (a number halfway between two
// results) although the product is not one. The comments at `multiply` say how each instruction set avoids that.
//
// Vectors with an infinite result or a NaN are left to the functions on one number, which give the right NaN and flags. The
// others raise no flag. Several vectors are checked at once, by the largest magnitude among their results, or among the
// numbers that are multiplied, where none of these can become infinite.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "half.hpp"
#include "isa.hpp"
#include "scalar.hpp"
#include "slopes.hpp"

#if LEAKYRELU_VECTOR_EXTENSIONS
#if defined(__AVX512BW__) || (defined(__AVX2__) && defined(__F16C__) && defined(__FMA__))
#define LEAKYRELU_HALF_SIMD
#include <immintrin.h>
#elif defined(__aarch64__)
#define LEAKYRELU_HALF_SIMD
#include <arm_neon.h>
#endif
#endif

namespace leakyrelu {
namespace LEAKYRELU_ISA {

#if defined(LEAKYRELU_HALF_SIMD)

// `group` vectors are checked for special results at once. Of AVX-512's 32 registers, each vector needs up to four.
#if defined(__AVX512BW__)
using HalfRegister = __m256i;
inline constexpr std::size_t group = 4;
#elif defined(__AVX2__)
using HalfRegister = __m128i;
inline constexpr std::size_t group = 2;
#else
using HalfRegister = uint16x4_t;
inline constexpr std::size_t group = 2;
#endif
inline constexpr std::size_t register_bytes = 2 * sizeof(HalfRegister);
using Float32 = float __attribute__((vector_size(register_bytes)));
using Bits32 = std::uint32_t __attribute__((vector_size(register_bytes)));
using Bits16 = std::uint16_t __attribute__((vector_size(register_bytes)));
using Int32 = std::int32_t __attribute__((vector_size(register_bytes)));

// As many 16-bit numbers of type X as one register holds. As float32 they fill two registers. With float16, these hold
// the first half and the second half of the numbers. With bfloat16, whose bits are the upper half of a float32, they hold
// the numbers of even index and those of odd index.
template <class X>
struct Vector;
template <>
struct Vector<half> {
  using number = half;
  static constexpr int digits = 11;
  static constexpr int min_exponent = -14;
  HalfRegister first, second;
  Bits16 both;  // the same in one register; only of numbers that are loaded
};
template <>
struct Vector<bfloat16> {
  using number = bfloat16;
  static constexpr int digits = 8;
  static constexpr int min_exponent = -126;
  Bits32 pairs;
};

template <class T>
struct Pair {
  T first, second;
};

template <class X>
struct Arithmetic<Vector<X>> {
  using result = Vector<X>;
};

inline Float32 broadcast(float x) { return bit_cast<Float32>(Bits32{} + bit_cast<std::uint32_t>(x)); }

#if defined(__AVX512BW__)

// These intrinsics are given a mask of ones, because GCC 12 warns about its own header in those that take no mask.
inline Float32 widen_register(HalfRegister x) { return _mm512_maskz_cvt_roundph_ps(0xffff, x, _MM_FROUND_NO_EXC); }

inline HalfRegister narrow_register(Bits32 x) {
  return _mm512_maskz_cvt_roundps_ph(0xffff, bit_cast<__m512>(x), _MM_FROUND_TO_NEAREST_INT);
}

// Narrowing raises a flag that is wrong where setting the last bit of an infinite product made it a signaling NaN.
using Flags = unsigned;
inline Flags get_flags() { return _mm_getcsr(); }
inline void set_flags(Flags flags) { _mm_setcsr(flags); }

inline Pair<Float32> even_and_odd(Float32 a, Float32 b) {
  const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
  return {_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b)};
}

inline Bits16 join(HalfRegister first, HalfRegister second) {
  return bit_cast<Bits16>(_mm512_maskz_inserti64x4(0xff, _mm512_castsi256_si512(first), second, 1));
}

inline bool any(Bits16 mask) { return _mm512_movepi16_mask(bit_cast<__m512i>(mask)) != 0; }

// An AVX-512 instruction can round towards zero, and raise no flag. So the product is truncated to float32. If its last
// bit is then set wherever bits were cut off ("rounding to odd"), it lies between the same two ties as the exact product.
//
// The slope alone decides whether that bit is set. Let s be the slope as an odd integer (without the zeros after its last
// 1), and x the number in the same form.
//  - s has more than digits + 1 bits. Then s x has more as well, so it is no tie, and the bit is always set. Where the
//    product was exact, the bit does not change what it is rounded to.
//  - s has at most digits + 1 bits. Then s x has at most 2 digits + 1, and nothing is cut off from a normal float32. A
//    subnormal product becomes 0 as float16. As bfloat16 it could be mistaken for a tie only if it had 17 bits, of which
//    the last is cut off and all but the first and the last are 0. That is 65537, which is a prime and so no product.
//  - The slope is subnormal. Then s tells nothing. Every product becomes 0 as float16. For bfloat16 a NaN replaces the
//    slope, and so the vector is left to the functions on one number.
struct Slope {
  Float32 value;
  Bits32 odd;  // the bit to set
  operator Float32() const { return value; }
};

template <class X>
constexpr std::uint32_t last_bits = (1u << (23 - Vector<X>::digits)) - 1;

template <class X>
inline bool may_tie(float alpha) {
  return (bit_cast<std::uint32_t>(alpha) & last_bits<X>) == 0 || !std::isnormal(alpha);
}

template <class X, bool ties>
inline Slope prepare(Float32 alpha) {
  const auto cut_off = [](Float32 value) { return bit_cast<__m512i>(bit_cast<Bits32>(value) & last_bits<X>); };
  if constexpr (!ties) {
    return {alpha, Bits32{} + 1u};
  } else if constexpr (std::is_same_v<X, half>) {
    return {alpha, bit_cast<Bits32>(_mm512_maskz_min_epu32(0xffff, cut_off(alpha), _mm512_set1_epi32(1)))};
  } else {
    constexpr int subnormal = 0x20, nan = 0x81;
    const Float32 value = _mm512_mask_mov_ps(alpha, _mm512_fpclass_ps_mask(alpha, subnormal | nan), broadcast(NAN));
    return {value, bit_cast<Bits32>(_mm512_maskz_min_epu32(0xffff, cut_off(value), _mm512_set1_epi32(1)))};
  }
}

// The number is multiplied by the slope where the mask is 1. Elsewhere it stays as it is.
struct Choice {
  __mmask16 mask;
  Slope slope;
};

inline Choice choose(Float32 x, Slope slope) {
  constexpr int negative = 0x40, minus_infinity = 0x10, nan = 0x81;
  return {_mm512_fpclass_ps_mask(x, negative | minus_infinity | nan), slope};
}

template <class X>
inline Bits32 multiply(Float32 x, Choice by) {
  const Bits32 product = bit_cast<Bits32>(
      _mm512_mask_mul_round_ps(x, by.mask, x, by.slope.value, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
  if constexpr (std::is_same_v<X, half>) {
    return product | by.slope.odd;
  } else {
    return product + 0x7fffu + (((product >> 16) | by.slope.odd) & 1u);
  }
}

#else

struct Flags {};
inline Flags get_flags() { return {}; }
inline void set_flags(Flags) {}

#if defined(__AVX2__)

inline Float32 widen_register(HalfRegister x) { return _mm256_cvtph_ps(x); }

inline HalfRegister narrow_register(Bits32 x) { return _mm256_cvtps_ph(bit_cast<__m256>(x), _MM_FROUND_TO_NEAREST_INT); }

inline Pair<Float32> even_and_odd(Float32 a, Float32 b) {
  const auto order = [](__m256 x) { return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(x), 0xd8)); };
  return {order(_mm256_shuffle_ps(a, b, 0x88)), order(_mm256_shuffle_ps(a, b, 0xdd))};
}

inline Bits16 join(HalfRegister first, HalfRegister second) { return bit_cast<Bits16>(_mm256_set_m128i(second, first)); }

inline bool any(Bits16 mask) { return _mm256_movemask_epi8(bit_cast<__m256i>(mask)) != 0; }

inline Int32 not_at_least_zero(Float32 x) {
  return bit_cast<Int32>(_mm256_cmp_ps(x, Float32{}, _CMP_NGE_UQ));  // quiet: raises no flag at NaN
}

inline Float32 fma(Float32 a, Float32 b, Float32 c) { return _mm256_fmadd_ps(a, b, c); }

inline Bits32 add_saturated(Bits32 a, Bits32 b) {
  return bit_cast<Bits32>(_mm256_adds_epi16(bit_cast<__m256i>(a), bit_cast<__m256i>(b)));
}

#else

inline Float32 widen_register(HalfRegister x) { return bit_cast<Float32>(vcvt_f32_f16(vreinterpret_f16_u16(x))); }

inline HalfRegister narrow_register(Bits32 x) { return vreinterpret_u16_f16(vcvt_f16_f32(bit_cast<float32x4_t>(x))); }

inline Pair<Float32> even_and_odd(Float32 a, Float32 b) {
  const auto x = bit_cast<float32x4_t>(a), y = bit_cast<float32x4_t>(b);
  return {bit_cast<Float32>(vuzp1q_f32(x, y)), bit_cast<Float32>(vuzp2q_f32(x, y))};
}

inline Bits16 join(HalfRegister first, HalfRegister second) { return bit_cast<Bits16>(vcombine_u16(first, second)); }

inline bool any(Bits16 mask) { return vmaxvq_u16(bit_cast<uint16x8_t>(mask)) != 0; }

// x + 0 is x, except that -0 becomes 0. Its bits, as an unsigned integer, are then above those of infinity exactly where
// x is negative or NaN. (A comparison of floating-point numbers would raise a flag at NaN.)
inline Int32 not_at_least_zero(Float32 x) { return bit_cast<Bits32>(x + 0.0f) > 0x7f800000u; }

inline Float32 fma(Float32 a, Float32 b, Float32 c) {
  return bit_cast<Float32>(vfmaq_f32(bit_cast<float32x4_t>(c), bit_cast<float32x4_t>(a), bit_cast<float32x4_t>(b)));
}

inline Bits32 add_saturated(Bits32 a, Bits32 b) {
  return bit_cast<Bits32>(vqaddq_s16(bit_cast<int16x8_t>(a), bit_cast<int16x8_t>(b)));
}

#endif

using Slope = Float32;
using Choice = Float32;

template <class X>
constexpr bool may_tie(float) {
  return true;
}

template <class X, bool ties>
inline Slope prepare(Float32 alpha) {
  return alpha;
}

inline Choice choose(Float32 x, Slope alpha) { return not_at_least_zero(x) ? alpha : broadcast(1); }

// A fused multiply-add rounds once, and the number that is added decides at which bit. For a product in [2^e, 2^(e + 1))
// that number is c = 1.5 * 2^(e + 24 - digits), whose last bit is at 2^(e + 1 - digits). Subtracting c again is exact.
// (The exponent e is that of the product in float32. Where rounding to float32 reaches the next power of two, rounding to
// fewer digits reaches it as well.)
//
// For products of 2^(103 + digits) and more, c is too large for a float32. The addition of 16-bit integers then saturates,
// which makes c a NaN, and so the vector is left to the functions on one number.
template <class X>
inline Bits32 multiply(Float32 x, Choice slope) {
  constexpr int digits = Vector<X>::digits;
  const Int32 least = Int32{} + ((127 + Vector<X>::min_exponent) << 23);
  const Bits32 product = bit_cast<Bits32>(x * slope);
  const Int32 exponent = bit_cast<Int32>(product & 0x7f800000u);
  const Int32 at = exponent > least ? exponent : least;
  const Float32 c = bit_cast<Float32>(add_saturated(bit_cast<Bits32>(at), Bits32{} + (((24u - digits) << 23) | 0x400000u)));
  return bit_cast<Bits32>(fma(x, slope, c) - c) | (product & 0x80000000u);
}

#endif

inline Pair<Float32> to_float(Vector<half> x) { return {widen_register(x.first), widen_register(x.second)}; }

inline Pair<Float32> to_float(Vector<bfloat16> x) {
  return {bit_cast<Float32>(x.pairs << 16), bit_cast<Float32>(x.pairs & 0xffff0000u)};
}

// The operations widen what they are given. Here that is left to `slope` and `product`, which may need only the 16 bits.
template <class X>
inline Vector<X> widen(Vector<X> x) {
  return x;
}

// The slopes for one vector of X.
template <class X>
struct Alphas {
  Pair<Slope> slopes;
  explicit Alphas(Pair<Slope> each) : slopes(each) {}
  explicit Alphas(Slope all) : slopes{all, all} {}
  explicit Alphas(float all) : Alphas(prepare<X, true>(broadcast(all))) {}
};

template <class X>
inline Pair<Float32> to_float(Alphas<X> alpha) {
  return {alpha.slopes.first, alpha.slopes.second};
}

template <class, class X>
inline Pair<Choice> slope(Vector<X> x, Alphas<X> alpha) {
  const auto [first, second] = to_float(x);
  return {choose(first, alpha.slopes.first), choose(second, alpha.slopes.second)};
}

#if defined(__AVX512BW__)
// Compared as they are, all numbers take one instruction, and the second input of the backward pass is never widened.
// Their bits, as unsigned integers, are above those of infinity where x is negative or NaN, and at -0.
template <class>
inline Pair<Choice> slope(Vector<half> x, Alphas<half> alpha) {
  const __m512i bits = bit_cast<__m512i>(x.both);
  const __mmask32 above = _mm512_cmpgt_epu16_mask(bits, _mm512_set1_epi16(0x7c00));
  const __mmask32 left = _mm512_mask_cmpneq_epi16_mask(above, bits, _mm512_set1_epi16(-0x8000));
  const auto second = static_cast<__mmask16>(_kshiftri_mask32(left, 16));
  return {{static_cast<__mmask16>(left), alpha.slopes.first}, {second, alpha.slopes.second}};
}
#endif

template <class Result, class X>
inline Result product(X x, Pair<Choice> by) {
  const auto [a, b] = to_float(x);
  const Bits32 first = multiply<typename Result::number>(a, by.first);
  const Bits32 second = multiply<typename Result::number>(b, by.second);
  if constexpr (std::is_same_v<Result, Vector<half>>) {
    return {narrow_register(first), narrow_register(second), Bits16{}};
  } else {
    return {(first >> 16) | (second & 0xffff0000u)};
  }
}

template <class Register, class T>
inline Register load(const T* from) {
  Register to;
  std::memcpy(&to, from, sizeof to);
  return to;
}

inline Vector<half> load_vector(const half* x) {
  return {load<HalfRegister>(x), load<HalfRegister>(x + sizeof(HalfRegister) / sizeof(half)), load<Bits16>(x)};
}

inline Vector<bfloat16> load_vector(const bfloat16* x) { return {load<Bits32>(x)}; }

inline void store(half* to, Vector<half> y) {
  std::memcpy(to, &y.first, sizeof y.first);
  std::memcpy(to + sizeof(HalfRegister) / sizeof(half), &y.second, sizeof y.second);
}

inline void store(bfloat16* to, Vector<bfloat16> y) { std::memcpy(to, &y.pairs, sizeof y.pairs); }

inline Bits16 bits(Vector<half> y) { return join(y.first, y.second); }

inline Bits16 bits(Vector<bfloat16> y) { return bit_cast<Bits16>(y.pairs); }

// Twice the bits of a number are its magnitude, because the sign is lost. Those of infinity and NaN are the largest ones.
inline Bits16 with_larger(Bits16 magnitude, Bits16 x) {
  const Bits16 doubled = x + x;
  return magnitude > doubled ? magnitude : doubled;
}

template <class X>
inline bool any_special(Bits16 magnitude) {
  return any(magnitude >= static_cast<std::uint16_t>(std::is_same_v<X, half> ? 0xf800 : 0xff00));
}

template <class X>
inline Alphas<X> load_alphas(const float* alpha) {
  Pair<Float32> a = {load<Float32>(alpha), load<Float32>(alpha + register_bytes / sizeof(float))};
  if constexpr (std::is_same_v<X, bfloat16>) {
    a = even_and_odd(a.first, a.second);
  }
  return Alphas<X>(Pair<Slope>{prepare<X, true>(a.first), prepare<X, true>(a.second)});
}

#endif

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
