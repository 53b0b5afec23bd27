// Counts, per unit, what enters an activation, in one pass over contiguous memory. Knows neither Python nor NumPy.
//
// The values lie in memory as (rows, units, positions). Beside the sum of all values there is the sum of those above zero,
// so the sum of |output| of a Leaky ReLU is known without its output:
//
//   sum of |output| = above + |slope| * (above - sum)
//
// An infinity, a NaN or an overflow makes the sum of its unit infinite or NaN. Then nothing is added to the counts, and the
// caller counts in another way.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "counts.hpp"
#include "isa.hpp"
#include "lanes.hpp"
#include "matrix.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

inline constexpr std::size_t longest_sum = 64;  // numbers that one lane adds up before the sum is widened to float64
static_assert(lane_count<float> <= shortest_stretch);

// Counts runs of at least as many numbers as a vector has lanes. Short runs of several rows are added up together.
template <class X>
void count_runs(const X* numbers, const Matrix& matrix, Counting<X> threshold, const Columns<Counting<X>>& columns) {
  using T = Counting<X>;
  constexpr std::size_t lanes = lane_count<T>, width = most_vectors * lanes, longest = longest_sum * width;
  for (std::size_t first = 0, last; first < matrix.rows; first = last) {
    last = std::min(matrix.rows, first + together(matrix.length));
    for (std::size_t column = 0; column < matrix.columns; ++column) {
      for (std::size_t start = 0; start < matrix.length; start += longest) {
        const std::size_t length = std::min(matrix.length - start, longest);
        const std::size_t whole = length / width, more = length % width / lanes, rest = length % lanes;
        const std::size_t rows = std::max<std::size_t>(1, longest_sum / std::max(whole, more + 1));
        const X* x = numbers + matrix.start + first * matrix.stride + column * matrix.length + start;
        for (std::size_t row = first; row < last;) {
          Registers<T, Lanes<T>, most_vectors> wide;
          Registers<T, Lanes<T>, 1> narrow;
          for (const std::size_t end = std::min(last, row + rows); row < end; ++row, x += matrix.stride) {
            wide.add(x, whole, width, threshold);
            narrow.add(x + whole * width, more, lanes, threshold);
            if (rest != 0) {
              narrow.add_last(x + length - lanes, rest, threshold);
            }
          }
          wide.add_to(narrow);
          narrow.add_to_one(columns + column);
        }
      }
    }
  }
}

// Adds `rows` numbers to each column of some vectors.
template <class V, std::size_t vectors, class X>
void count_rows(const X* x, std::size_t rows, std::size_t stride, Counting<X> threshold, const Columns<Counting<X>>& columns,
                std::size_t kept = 0) {
  Registers<Counting<X>, V, vectors> sums;
  sums.add(x, rows, stride, threshold);
  if (kept != 0) {
    sums.keep_last(kept);
  }
  sums.add_to(columns);
}

// Counts columns of one number per row. The last vector of a row may begin in the one before it.
template <class X>
void count_columns(const X* numbers, const Matrix& matrix, Counting<X> threshold, const Columns<Counting<X>>& columns) {
  using T = Counting<X>;
  constexpr std::size_t lanes = lane_count<T>, width = most_vectors * lanes;
  for (std::size_t row = 0; row < matrix.rows; row += rows_together) {
    const std::size_t rows = std::min(matrix.rows - row, rows_together);
    const X* const x = numbers + matrix.start + row * matrix.stride;
    std::size_t i = 0;
    for (; i + width <= matrix.columns; i += width) {
      count_rows<Lanes<T>, most_vectors>(x + i, rows, matrix.stride, threshold, columns + i);
    }
    for (; i + lanes <= matrix.columns; i += lanes) {
      count_rows<Lanes<T>, 1>(x + i, rows, matrix.stride, threshold, columns + i);
    }
    if (i < matrix.columns && lanes < matrix.columns) {
      const std::size_t last = matrix.columns - lanes;
      count_rows<Lanes<T>, 1>(x + last, rows, matrix.stride, threshold, columns + last, matrix.columns - i);
    } else {
      for (; i < matrix.columns; ++i) {
        count_rows<T, 1>(x + i, rows, matrix.stride, threshold, columns + i);
      }
    }
  }
}

template <class X>
void count_part(const X* x, const Matrix& matrix, Counting<X> threshold, const Columns<Counting<X>>& columns) {
  if (matrix.length == 1) {
    count_columns(x, matrix, threshold, columns);
  } else {
    count_runs(x, matrix, threshold, columns);
  }
}

// Calls stretch(first, rows) for all rows, or for each stretch of neighbouring rows that are no padding.
template <class Stretch>
bool for_each_stretch(const Values& values, Stretch stretch) {
  if (values.kept == nullptr) {
    return stretch(0, values.rows);
  }
  for (std::size_t i = 0, end; i < values.kept_rows; i = end) {
    const auto first = static_cast<std::size_t>(values.kept[i]);
    for (end = i + 1; end < values.kept_rows && static_cast<std::size_t>(values.kept[end]) == first + (end - i);) {
      ++end;
    }
    if (values.kept[i] < 0 || first + (end - i) > values.rows || !stretch(first, end - i)) {
      return false;
    }
  }
  return true;
}

// Adds to the counts what was counted of each unit.
template <class T>
bool add_units(const Columns<T>& units, std::size_t size, const Activation& activation, const Counts& counts) {
  if (!std::all_of(units.sum, units.sum + size, [](double sum) { return std::isfinite(sum); })) {
    return false;
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (counts.fired != nullptr) {
      counts.fired[i] += units.fired[i];
      counts.below[i] |= units.minimum[i] < static_cast<T>(activation.threshold);
      counts.maximum[i] = larger(static_cast<double>(units.maximum[i]), counts.maximum[i]);
    }
    if (counts.magnitude != nullptr) {
      counts.magnitude[i] += units.above[i] + std::fabs(activation.slope) * (units.above[i] - units.sum[i]);
    }
  }
  return true;
}

// See counts.hpp.
template <class X>
bool count(const Values& values, const Activation& activation, const Counts& counts) {
  using T = Counting<X>;
  if (values.rows == 0 || values.units == 0 || values.positions == 0) {
    return true;
  }
  if (values.rows * values.positions > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
    return false;  // the columns of float32 count no further
  }
  const Arrangement arrangement(values.units, values.positions, most_vectors * lane_count<T>);
  const OwnColumns<T> all(arrangement.columns());
  if (!all) {
    return false;
  }
  const auto* const x = static_cast<const X*>(values.data);
  const auto threshold = static_cast<T>(activation.threshold);
  const auto add = [=](const Matrix& matrix, const Columns<T>& columns) { count_part(x, matrix, threshold, columns); };
  const bool complete = for_each_stretch(values, [&](std::size_t first, std::size_t rows) {
    return arrangement.for_each_matrix(first, rows, [&](const Matrix& matrix) {
      return add_matrix<OwnColumns<T>>(matrix, sizeof(X), all.columns(), add);
    });
  });
  if (!complete) {
    return false;
  }
  if (arrangement.has_a_column_per_unit()) {
    return add_units(all.columns(), values.units, activation, counts);
  }
  const OwnColumns<T> units(values.units);
  if (!units) {
    return false;
  }
  arrangement.add_to_units(all.columns(), units.columns());
  return add_units(units.columns(), values.units, activation, counts);
}

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
