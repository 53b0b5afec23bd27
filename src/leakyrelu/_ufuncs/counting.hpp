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
#include "memory.hpp"
#include "thread_pool.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

inline constexpr std::size_t shortest_stretch = 16;       // positions; no vector has more lanes
inline constexpr std::size_t rows_together = 8;       // at most; memory that is read at more places at a time is slower
inline constexpr std::size_t values_together = 2048;  // of one unit, for which its lanes are added up once
inline constexpr std::size_t longest_sum = 64;        // numbers that one lane adds up before the sum is widened to float64
inline constexpr std::size_t chunk_bytes = 1 << 16;   // at least, of what one thread counts at a time
inline constexpr std::size_t piece_bytes = 1 << 10;   // at least, of a chunk in each row
inline constexpr std::size_t most_chunks = 16;        // each may need memory for counts of its own
static_assert(lane_count<float> <= shortest_stretch);

// How many rows of a column with `length` numbers per row are added up before their lanes are.
inline std::size_t together(std::size_t length) { return std::clamp<std::size_t>(values_together / length, 1, rows_together); }

// The rows have `columns` runs of `length` numbers. All runs of a column belong to one unit.
template <class X>
struct Matrix {
  const X* x;
  std::size_t rows;
  std::size_t columns;
  std::size_t length;
  std::size_t stride;  // from row to row

  Matrix part(std::size_t row, std::size_t count, std::size_t column, std::size_t width) const {
    return {x + row * stride + column * length, count, width, length, stride};
  }
};

// Counts runs of at least as many numbers as a vector has lanes. Short runs of several rows are added up together.
template <class X>
void count_runs(const Matrix<X>& matrix, Counting<X> threshold, const Columns<Counting<X>>& columns) {
  using T = Counting<X>;
  constexpr std::size_t lanes = lane_count<T>, width = most_vectors * lanes, longest = longest_sum * width;
  for (std::size_t first = 0, last; first < matrix.rows; first = last) {
    last = std::min(matrix.rows, first + together(matrix.length));
    for (std::size_t column = 0; column < matrix.columns; ++column) {
      for (std::size_t start = 0; start < matrix.length; start += longest) {
        const std::size_t length = std::min(matrix.length - start, longest);
        const std::size_t whole = length / width, more = length % width / lanes, rest = length % lanes;
        const std::size_t rows = std::max<std::size_t>(1, longest_sum / std::max(whole, more + 1));
        const X* x = matrix.x + first * matrix.stride + column * matrix.length + start;
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
void count_columns(const Matrix<X>& matrix, Counting<X> threshold, const Columns<Counting<X>>& columns) {
  using T = Counting<X>;
  constexpr std::size_t lanes = lane_count<T>, width = most_vectors * lanes;
  for (std::size_t row = 0; row < matrix.rows; row += rows_together) {
    const std::size_t rows = std::min(matrix.rows - row, rows_together);
    const X* const x = matrix.x + row * matrix.stride;
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
void count_part(const Matrix<X>& matrix, Counting<X> threshold, const Columns<Counting<X>>& columns) {
  if (matrix.length == 1) {
    count_columns(matrix, threshold, columns);
  } else {
    count_runs(matrix, threshold, columns);
  }
}

// Calls chunk(i) for each i below `count`, on several threads where there is enough memory to make that worth while.
template <class Chunk>
void in_chunks(std::size_t count, std::size_t bytes, Chunk chunk) {
  if (bytes < memory_limits.threading) {
    for (std::size_t i = 0; i < count; ++i) {
      chunk(i);
    }
  } else {
    run_blocks(count, chunk);
  }
}

// Cuts the matrix into chunks, between rows or between columns, whichever makes more of them. How it is cut depends on its
// shape alone, so sums are rounded alike for every number of threads. Returns false where there is no memory.
template <class X>
bool count_matrix(const Matrix<X>& matrix, Counting<X> threshold, const Columns<Counting<X>>& columns) {
  const std::size_t bytes = matrix.rows * matrix.columns * matrix.length * sizeof(X);
  const std::size_t most = std::min(most_chunks, bytes / chunk_bytes);
  // A chunk of rows has counts of its own, which must be few beside its numbers.
  const std::size_t height = together(matrix.length) * (matrix.length == 1 ? 8 : 1);
  const std::size_t width = std::max<std::size_t>(1, piece_bytes / (matrix.length * sizeof(X)));
  const std::size_t between_rows = std::min(most, matrix.rows / height);
  const std::size_t between_columns = std::min(most, matrix.columns / width);
  if (std::max(between_rows, between_columns) < 2) {
    count_part(matrix, threshold, columns);
  } else if (between_rows < between_columns) {
    const std::size_t step = matrix.columns / between_columns / width * width;
    const std::size_t chunks = matrix.columns / step;
    in_chunks(chunks, bytes, [&](std::size_t i) {
      const std::size_t count = i + 1 < chunks ? step : matrix.columns - i * step;
      count_part(matrix.part(0, matrix.rows, i * step, count), threshold, columns + i * step);
    });
  } else {
    const OwnColumns<Counting<X>> all(between_rows * matrix.columns);
    if (!all) {
      return false;
    }
    in_chunks(between_rows, bytes, [&](std::size_t i) {
      const std::size_t first = matrix.rows * i / between_rows, end = matrix.rows * (i + 1) / between_rows;
      count_part(matrix.part(first, end - first, 0, matrix.columns), threshold, all.columns() + i * matrix.columns);
    });
    for (std::size_t i = 0; i < between_rows; ++i) {
      columns.add(all.columns() + i * matrix.columns, matrix.columns);
    }
  }
  return true;
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
  // All values of a single unit are one column. Several short rows make up one row, which fills a block of vectors.
  constexpr std::size_t block = most_vectors * lane_count<T>;
  const std::size_t positions = values.units == 1 ? 1 : values.positions;
  const std::size_t rows_in_one = values.units == 1 ? values.positions : 1;
  const std::size_t length = positions < shortest_stretch ? 1 : positions;
  const std::size_t columns = values.units * (positions / length);
  const std::size_t merged = length == 1 && columns < block ? (block + columns - 1) / columns : 1;
  const OwnColumns<T> all(merged * columns);
  if (!all) {
    return false;
  }
  const auto threshold = static_cast<T>(activation.threshold);
  const bool complete = for_each_stretch(values, [&](std::size_t first, std::size_t rows) {
    const X* const x = static_cast<const X*>(values.data) + first * rows_in_one * columns * length;
    const std::size_t stride = columns * length, merged_rows = rows * rows_in_one / merged;
    const Matrix<X> matrix{x, merged_rows, merged * columns, length, merged * stride};
    const Matrix<X> rest{x + merged_rows * merged * stride, rows * rows_in_one % merged, columns, length, stride};
    return count_matrix(matrix, threshold, all.columns()) && count_matrix(rest, threshold, all.columns());
  });
  if (!complete) {
    return false;
  }
  if (merged * columns == values.units) {
    return add_units(all.columns(), values.units, activation, counts);
  }
  const OwnColumns<T> units(values.units);
  if (!units) {
    return false;
  }
  const std::size_t of_one_unit = columns / values.units;
  for (std::size_t i = 0; i < merged; ++i) {
    for (std::size_t unit = 0; unit < values.units; ++unit) {
      for (std::size_t part = 0; part < of_one_unit; ++part) {
        (units.columns() + unit).add(all.columns() + ((i * values.units + unit) * of_one_unit + part), 1);
      }
    }
  }
  return add_units(units.columns(), values.units, activation, counts);
}

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
