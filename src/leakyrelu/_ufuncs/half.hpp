// float16 and bfloat16: to float32 and back, rounding once. Knows neither Python nor NumPy.
//
// Nothing here branches and no comparison is a floating-point one, so that compilers vectorise
// every function for every instruction set, and no flag is raised but that of an overflow.

#pragma once

#include <cstdint>
#include <cstring>

#include "arithmetic.hpp"
#include "isa.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

struct half {
  std::uint16_t bits;
};

struct bfloat16 {
  std::uint16_t bits;
};

// The same bytes as another type (std::bit_cast, which C++17 lacks).
template <class To, class From>
inline To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast takes types of one size");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// `a` where the mask's bits are one, `b` where they are zero.
template <class Bits>
inline Bits blend(Bits mask, Bits a, Bits b) {
  return b ^ ((a ^ b) & mask);
}

// A mask of ones where a < b, for integers below 2^31.
inline std::uint32_t less(std::uint32_t a, std::uint32_t b) { return 0u - ((a - b) >> 31); }

// Shifted up by 13 bits, float16's exponent and fraction are those of a float32. With 224 added to the exponent
// infinity stays infinity and NaN stays NaN, and 2^112 times the value is what is read; a subnormal is its bits
// times 2^-24.
inline float widen(half x) {
  const std::uint32_t magnitude = x.bits & 0x7fffu;
  const float normal = bit_cast<float>((magnitude << 13) + (224u << 23)) * 0x1p-112f;
  const float subnormal = static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24f;
  const std::uint32_t bits = blend(less(magnitude, 0x400u), bit_cast<std::uint32_t>(subnormal), bit_cast<std::uint32_t>(normal));
  return bit_cast<float>(bits | (x.bits & 0x8000u) << 16);
}

// bfloat16 is the upper half of a float32.
inline float widen(bfloat16 x) { return bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }

// The magnitude of x at `digits` significant bits, ties to even, with no finer steps below 2^min_exponent.
// For |x| in [2^e, 2^(e+1)), |x| + 2^(e + 53 - digits) has its last bit at 2^(e + 1 - digits): the addition rounds.
// Infinity and NaN pass: what is added to them is finite, its exponent having wrapped around.
template <int digits, int min_exponent>
inline double round_magnitude(double x) {
  const std::uint64_t magnitude = bit_cast<std::uint64_t>(x) & 0x7fffffffffffffffu;
  const std::uint32_t exponent = static_cast<std::uint32_t>(magnitude >> 52);
  const std::uint32_t least = 1023 + min_exponent;
  const std::uint64_t at = blend(less(exponent, least), least, exponent) + (53u - digits);
  const double rounder = bit_cast<double>(at << 52);
  return (bit_cast<double>(magnitude) + rounder) - rounder;
}

template <class Number>
Number narrow(double x);

// 2^112 puts float16's range at the top of float32's: what is too large overflows there, to infinity, and raises
// the flag. Subnormals, and all else below 2^-14, are counted in steps of 2^-24, the last bit of 0.5f.
template <>
inline half narrow<half>(double x) {
  const double rounded = round_magnitude<11, -14>(x);
  const std::uint32_t scaled = bit_cast<std::uint32_t>(static_cast<float>(rounded * 0x1p112));
  const std::uint32_t normal = (scaled >> 13) - (224u << 10);
  const std::uint32_t subnormal = bit_cast<std::uint32_t>(static_cast<float>(rounded + 0.5)) - bit_cast<std::uint32_t>(0.5f);
  const std::uint32_t magnitude = blend(less(scaled, bit_cast<std::uint32_t>(0x1p98f)), subnormal, normal);
  const std::uint32_t sign = static_cast<std::uint32_t>(bit_cast<std::uint64_t>(x) >> 48) & 0x8000u;
  return {static_cast<std::uint16_t>(sign | magnitude)};
}

// Too large a value overflows, and raises the flag, on its way to float32.
template <>
inline bfloat16 narrow<bfloat16>(double x) {
  const float rounded = static_cast<float>(round_magnitude<8, -126>(x));
  const std::uint32_t magnitude = bit_cast<std::uint32_t>(rounded) >> 16;
  const std::uint32_t sign = static_cast<std::uint32_t>(bit_cast<std::uint64_t>(x) >> 48) & 0x8000u;
  return {static_cast<std::uint16_t>(sign | magnitude)};
}

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
