// The gradient with respect to the slope: the sum of grad * x where x < 0 (or NaN), per unit, in one pass over contiguous
// memory. Knows neither Python nor NumPy.
//
// Products and sums are float64 (long double for long double). Of 16-bit numbers and float32 the products are exact. The
// order of the additions depends on the shape alone, so the bits are the same for every number of threads and every
// instruction set.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>

#include "half.hpp"
#include "isa.hpp"
#include "lanes.hpp"
#include "matrix.hpp"
#include "scalar.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

// So many numbers are added up side by side, each with the one that lies as many further. It is the same for all instruction
// sets, and no vector has more lanes.
inline constexpr std::size_t lane_block = 16;
inline constexpr std::size_t columns_together = 64;  // at least, where rows are shorter
inline constexpr std::size_t longest_run = 4096;     // numbers that are added up before their lanes are
static_assert(lane_count<float> <= lane_block && lane_block <= shortest_stretch);

template <class X>
using Sum = std::conditional_t<(sizeof(X) > sizeof(double)), X, double>;

template <class T>
struct SumColumns {
  T* sums;

  SumColumns operator+(std::size_t columns) const { return {sums + columns}; }

  void add(const SumColumns& other, std::size_t columns) const {
    for (std::size_t i = 0; i < columns; ++i) {
      sums[i] += other.sums[i];
    }
  }
};

// Sums of zero with memory of their own; false where there was none.
template <class T>
class OwnSums {
 public:
  explicit OwnSums(std::size_t size) : memory_(new (std::nothrow) T[size]()) {}
  explicit operator bool() const { return memory_ != nullptr; }
  SumColumns<T> columns() const { return {memory_.get()}; }

 private:
  std::unique_ptr<T[]> memory_;
};

// Vectors of T, or T itself where there are none.
template <class T>
struct Wide {
  using type = Lanes<T>;
};
template <>
struct Wide<long double> {
  using type = long double;
};

// The values where x < 0 or NaN, and zero elsewhere.
template <class V>
LEAKYRELU_INLINE V where_left(V values, V x) {
  if constexpr (std::is_arithmetic_v<V>) {
    return by_sign(x, values, V(0));
#if LEAKYRELU_VECTOR_EXTENSIONS
  } else {
    using Signed = decltype(x > x);
    using T = std::remove_reference_t<decltype(x[0])>;
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    typedef Bits Unsigned __attribute__((vector_size(sizeof(V))));
    const auto bits = bit_cast<Unsigned>(x + T(0));  // by_sign says what this compares
    const Unsigned infinity = Unsigned{} + bit_cast<Bits>(std::numeric_limits<T>::infinity());
    const Signed mask = bit_cast<Signed>(bits | (infinity - bits)) >> (std::numeric_limits<Bits>::digits - 1);
    return bit_cast<V>(bit_cast<Signed>(values) & mask);
#endif
  }
}

// Sums of products, side by side in registers.
template <class X>
class Block {
  using T = typename Arithmetic<X>::slope;  // of 16-bit numbers float32
  using V = typename Wide<T>::type;
  using S = typename Wide<Sum<X>>::type;
  static constexpr std::size_t lanes = sizeof(V) / sizeof(T), sum_lanes = sizeof(S) / sizeof(Sum<X>);

 public:
  LEAKYRELU_INLINE Block() {
    for (S& sum : sums_) {
      sum = S{};
    }
  }

  LEAKYRELU_INLINE void add(const X* grad, const X* x) {
    for (std::size_t i = 0; i < lane_block; i += lanes) {
      const V right = load_factors(x + i);
      add_products(i, where_left(load_factors(grad + i), right), where_left(right, right));
    }
  }

  LEAKYRELU_INLINE void add_run(const X* grad, const X* x, std::size_t length) {
    std::size_t i = 0;
    for (; i + lane_block <= length; i += lane_block) {
      add(grad + i, x + i);
    }
    if (i < length) {
      add_rest(grad + i, x + i, length - i);
    }
  }

  // Adds fewer numbers than a block has. Its other lanes add zero.
  void add_rest(const X* grad, const X* x, std::size_t size) {
    X grads[lane_block] = {}, xs[lane_block] = {};
    std::copy_n(grad, size, grads);
    std::copy_n(x, size, xs);
    add(grads, xs);
  }

  LEAKYRELU_INLINE void add_to(Sum<X>* sums) const {
    for (std::size_t i = 0; i < lane_block; i += sum_lanes) {
      put(sums + i, get<S>(sums + i) + sums_[i / sum_lanes]);
    }
  }

  Sum<X> total() const {
    Sum<X> sums[lane_block] = {};
    add_to(sums);
    for (std::size_t width = lane_block / 2; width > 0; width /= 2) {
      for (std::size_t i = 0; i < width; ++i) {
        sums[i] += sums[i + width];
      }
    }
    return sums[0];
  }

 private:
  LEAKYRELU_INLINE static V load_factors(const X* x) {
    if constexpr (std::is_same_v<X, T>) {
      return get<V>(x);
    } else {
      return load_lanes<V>(x);
    }
  }

  // The product of two float32 is exact as a float64.
  LEAKYRELU_INLINE void add_products(std::size_t at, V a, V b) {
    S* const sums = sums_ + at / sum_lanes;
    if constexpr (std::is_same_v<V, S>) {
      sums[0] += a * b;
    } else if constexpr (std::is_arithmetic_v<V>) {
      sums[0] += static_cast<S>(a) * static_cast<S>(b);
#if LEAKYRELU_VECTOR_EXTENSIONS
    } else {
      using Half = float __attribute__((vector_size(vector_bytes / 2)));
      Half halves[2][2];
      std::memcpy(halves[0], &a, sizeof a);
      std::memcpy(halves[1], &b, sizeof b);
      for (std::size_t i = 0; i < 2; ++i) {
        sums[i] += __builtin_convertvector(halves[0][i], S) * __builtin_convertvector(halves[1][i], S);
      }
#endif
    }
  }

  S sums_[lane_block / sum_lanes];
};

// Adds up runs. Short ones of several rows are added up together.
template <class X>
void add_runs(const X* grad, const X* x, const Matrix& matrix, const SumColumns<Sum<X>>& columns) {
  for (std::size_t row = 0; row < matrix.rows; row += together(matrix.length)) {
    const std::size_t rows = std::min(matrix.rows - row, together(matrix.length));
    for (std::size_t column = 0; column < matrix.columns; ++column) {
      const std::size_t at = matrix.start + row * matrix.stride + column * matrix.length;
      for (std::size_t start = 0; start < matrix.length; start += longest_run) {
        const std::size_t length = std::min(matrix.length - start, longest_run);
        Block<X> block;
        for (std::size_t i = 0, here = at + start; i < rows; ++i, here += matrix.stride) {
          block.add_run(grad + here, x + here, length);
        }
        columns.sums[column] += block.total();
      }
    }
  }
}

// Adds up columns of one number per row.
template <class X>
void add_columns(const X* grad, const X* x, const Matrix& matrix, const SumColumns<Sum<X>>& columns) {
  for (std::size_t row = 0; row < matrix.rows; row += rows_together) {
    const std::size_t rows = std::min(matrix.rows - row, rows_together);
    for (std::size_t column = 0; column < matrix.columns; column += lane_block) {
      const std::size_t width = std::min(matrix.columns - column, lane_block);
      std::size_t at = matrix.start + row * matrix.stride + column;
      Block<X> block;
      if (width == lane_block) {
        for (std::size_t i = 0; i < rows; ++i, at += matrix.stride) {
          block.add(grad + at, x + at);
        }
        block.add_to(columns.sums + column);
      } else {
        Sum<X> sums[lane_block] = {};
        for (std::size_t i = 0; i < rows; ++i, at += matrix.stride) {
          block.add_rest(grad + at, x + at, width);
        }
        block.add_to(sums);
        (columns + column).add({sums}, width);
      }
    }
  }
}

template <class X>
inline X rounded(Sum<X> sum) {
  if constexpr (std::is_same_v<X, typename Arithmetic<X>::slope>) {
    return static_cast<X>(sum);
  } else {
    return narrow<X>(sum);
  }
}

// See loops.hpp.
template <class X>
bool slope_gradient(const void* grad, const void* x, std::size_t rows, std::size_t units, std::size_t positions, void* result) {
  if (units == 0) {
    return true;
  }
  const OwnSums<Sum<X>> sums(units);
  if (!sums) {
    return false;
  }
  if (rows != 0 && positions != 0) {
    const Arrangement arrangement(units, positions, columns_together);
    const OwnSums<Sum<X>> columns(arrangement.columns());
    const auto add = [=](const Matrix& matrix, const SumColumns<Sum<X>>& to) {
      (matrix.length == 1 ? add_columns<X> : add_runs<X>)(static_cast<const X*>(grad), static_cast<const X*>(x), matrix, to);
    };
    const bool complete = columns && arrangement.for_each_matrix(0, rows, [&](const Matrix& matrix) {
      return add_matrix<OwnSums<Sum<X>>>(matrix, 2 * sizeof(X), columns.columns(), add);
    });
    if (!complete) {
      return false;
    }
    arrangement.add_to_units(columns.columns(), sums.columns());
  }
  std::transform(sums.columns().sums, sums.columns().sums + units, static_cast<X*>(result), rounded<X>);
  return true;
}

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
