// Leaky ReLU on one number: the value, the derivative, the backward pass. Knows neither Python nor NumPy.
//
//   leaky_relu(x, alpha)                 x where x >= 0, alpha * x elsewhere
//   leaky_relu_derivative(x, alpha)      1 where x >= 0, alpha elsewhere
//   leaky_relu_backward(grad, x, alpha)  grad * leaky_relu_derivative(x, alpha)
//
// Each of the three chooses a slope and computes at most one product, which is rounded once.

#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "half.hpp"
#include "isa.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

// For numbers of type X, `slope` is the type of alpha, and `result` is the type of the result.
// Integers are computed in float64; the 16-bit types keep alpha as float32.
template <class X>
struct Arithmetic {
  using slope = std::conditional_t<std::is_floating_point_v<X>, X, double>;
  using result = slope;
};
template <>
struct Arithmetic<half> {
  using slope = float;
  using result = half;
};
template <>
struct Arithmetic<bfloat16> {
  using slope = float;
  using result = bfloat16;
};

// NumPy's bool is a byte. Every byte but zero is true.
struct boolean {
  std::uint8_t byte;
};

inline double widen(boolean x) { return x.byte != 0; }

template <class X, class = std::enable_if_t<std::is_arithmetic_v<X>>>
inline typename Arithmetic<X>::slope widen(X x) {
  return static_cast<typename Arithmetic<X>::slope>(x);
}

// Returns the exact product, rounded once. The product of a 16-bit number and a float32 is exact in float64.
template <class Result, class T>
inline Result product(T a, T b) {
  if constexpr (std::is_same_v<Result, T>) {
    return a * b;
  } else {
    return narrow<Result>(static_cast<double>(a) * static_cast<double>(b));
  }
}

// `right` where x >= 0, `left` elsewhere (at NaN too).
//
// `x >= 0 ? right : left` is not vectorised, because a floating-point comparison may trap. So bits are compared instead.
// x + 0 is x, except that -0 becomes 0. Its bits, as an unsigned integer, are then above those of infinity exactly where
// x is negative or NaN. With AVX-512, compilers turn this comparison into a product under a mask. The other instruction
// sets need a mask of bits, which is made from the top bit of bits | (infinity - bits).
template <class T>
inline T by_sign(T x, T left, T right) {
  if constexpr (sizeof(T) == 4 || sizeof(T) == 8) {
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    const Bits bits = bit_cast<Bits>(x + T(0));
    const Bits infinity = bit_cast<Bits>(std::numeric_limits<T>::infinity());
#if defined(__AVX512F__)
    return bits > infinity ? left : right;
#else
    constexpr int top = std::numeric_limits<Bits>::digits - 1;
    const Bits mask = static_cast<Bits>(static_cast<std::make_signed_t<Bits>>(bits | (infinity - bits)) >> top);
    return bit_cast<T>(blend(mask, bit_cast<Bits>(left), bit_cast<Bits>(right)));
#endif
  } else {
    return std::isgreaterequal(x, T(0)) ? right : left;  // long double; this comparison raises no flag at NaN
  }
}

// 1 where x >= 0, alpha elsewhere (at NaN too).
template <class T>
inline T slope(T x, T alpha) {
  return by_sign(x, alpha, T(1));
}

// The slope at a number of any type. A small integer is compared before it is widened, which takes half the time. (AVX2
// has no instruction that widens 64-bit integers, and loops that compare them first were slower there.)
template <class Slope, class X, class Alpha>
inline auto slope_at(X x, Alpha alpha) {
  if constexpr (std::is_integral_v<X> && sizeof(X) < 8) {
    return x < 0 ? alpha : Slope(1);
  } else {
    return slope<Slope>(widen(x), alpha);
  }
}

struct LeakyRelu {
  template <class X, class Slope = typename Arithmetic<X>::slope>
  static typename Arithmetic<X>::result of(Slope alpha, X x) {
    return product<typename Arithmetic<X>::result>(widen(x), slope_at<Slope>(x, alpha));
  }
};

struct LeakyReluDerivative {
  template <class X, class Slope = typename Arithmetic<X>::slope>
  static typename Arithmetic<X>::result of(Slope alpha, X x) {
    return product<typename Arithmetic<X>::result>(Slope(1), slope_at<Slope>(x, alpha));
  }
};

struct LeakyReluBackward {
  template <class X, class Slope = typename Arithmetic<X>::slope>
  static typename Arithmetic<X>::result of(Slope alpha, X grad, X x) {
    return product<typename Arithmetic<X>::result>(widen(grad), slope_at<Slope>(x, alpha));
  }
};

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
