// float16 and bfloat16: widened to float32, and narrowed from float64 with one rounding. Knows neither Python nor NumPy.
//
// Nothing here branches, and no floating-point numbers are compared. So compilers vectorise every function for every
// instruction set, and the only flag that is raised is that of an overflow.

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

// Returns the same bytes as another type. (This is std::bit_cast, which C++17 lacks.)
template <class To, class From>
inline To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast takes types of one size");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// Takes the bits of `a` where the mask is 1, and those of `b` where it is 0.
template <class Bits>
inline Bits blend(Bits mask, Bits a, Bits b) {
  return b ^ ((a ^ b) & mask);
}

// Returns a mask of ones where a < b, and of zeros elsewhere. Both must be below 2^31.
inline std::uint32_t less(std::uint32_t a, std::uint32_t b) { return 0u - ((a - b) >> 31); }

// Shifted up by 13 bits, the exponent and fraction of a float16 lie where those of a float32 lie. Adding 224 to the
// exponent leaves infinity and NaN what they are, and makes any other normal number 2^112 times its value. A subnormal
// number is its bits times 2^-24.
inline float widen(half x) {
  const std::uint32_t magnitude = x.bits & 0x7fffu;
  const float normal = bit_cast<float>((magnitude << 13) + (224u << 23)) * 0x1p-112f;
  const float subnormal = static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24f;
  const std::uint32_t bits = blend(less(magnitude, 0x400u), bit_cast<std::uint32_t>(subnormal), bit_cast<std::uint32_t>(normal));
  return bit_cast<float>(bits | (x.bits & 0x8000u) << 16);
}

// bfloat16 is the upper half of a float32.
inline float widen(bfloat16 x) { return bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }

// Returns |x| rounded to `digits` significant bits, ties to even. Below 2^min_exponent the steps become no finer.
// For |x| in [2^e, 2^(e+1)), the last bit of |x| + 2^(e + 53 - digits) is at 2^(e + 1 - digits), so the addition rounds.
// Infinity and NaN stay what they are, because the exponent of what is added to them wraps around and makes it finite.
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

// The factor 2^112 moves the range of float16 to the top of the range of float32. A number that is too large then
// overflows to infinity and raises the flag. Numbers below 2^-14 are counted in steps of 2^-24, the last bit of 0.5f.
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

// A number that is too large overflows in the conversion to float32, which raises the flag.
template <>
inline bfloat16 narrow<bfloat16>(double x) {
  const float rounded = static_cast<float>(round_magnitude<8, -126>(x));
  const std::uint32_t magnitude = bit_cast<std::uint32_t>(rounded) >> 16;
  const std::uint32_t sign = static_cast<std::uint32_t>(bit_cast<std::uint64_t>(x) >> 48) & 0x8000u;
  return {static_cast<std::uint16_t>(sign | magnitude)};
}

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
