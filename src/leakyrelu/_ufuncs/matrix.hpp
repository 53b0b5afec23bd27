// Numbers of some units in contiguous memory, as a matrix: how it is cut into chunks for several threads, and added up per
// unit. Knows neither Python nor NumPy, nor what is added up.
//
// The numbers lie in memory as (rows, units, positions). What is added up lies in columns: an object with `columns + i`, the
// columns from i on, and with `columns.add(others, count)`. `Own` makes columns that are still empty, and false where there
// is no memory for them.

#pragma once

#include <algorithm>
#include <cstddef>

#include "isa.hpp"
#include "memory.hpp"
#include "thread_pool.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

inline constexpr std::size_t shortest_stretch = 16;   // positions; no vector has more lanes
inline constexpr std::size_t rows_together = 8;       // at most; memory that is read at more places at a time is slower
inline constexpr std::size_t values_together = 2048;  // of one unit, for which its lanes are added up once
inline constexpr std::size_t chunk_bytes = 1 << 16;   // at least, of what one thread adds up at a time
inline constexpr std::size_t piece_bytes = 1 << 10;   // at least, of a chunk in each row
inline constexpr std::size_t most_chunks = 16;        // each may need memory for columns of its own

// How many rows of a column with `length` numbers per row are added up before their lanes are.
inline std::size_t together(std::size_t length) { return std::clamp<std::size_t>(values_together / length, 1, rows_together); }

// The rows have `columns` runs of `length` numbers. All runs of a column belong to one unit.
struct Matrix {
  std::size_t start;  // where its first number lies
  std::size_t rows;
  std::size_t columns;
  std::size_t length;
  std::size_t stride;  // from row to row

  Matrix part(std::size_t row, std::size_t count, std::size_t column, std::size_t width) const {
    return {start + row * stride + column * length, count, width, length, stride};
  }
};

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

// Cuts the matrix into chunks, between rows or between columns, whichever makes more of them, and calls add(chunk, columns)
// for each. How it is cut depends on its shape alone, so sums are rounded alike for every number of threads. Returns false
// where there is no memory.
template <class Own, class Columns, class Add>
bool add_matrix(const Matrix& matrix, std::size_t bytes_per_number, const Columns& columns, Add add) {
  const std::size_t bytes = matrix.rows * matrix.columns * matrix.length * bytes_per_number;
  const std::size_t most = std::min(most_chunks, bytes / chunk_bytes);
  // A chunk of rows has columns of its own, which must be few beside its numbers.
  const std::size_t height = together(matrix.length) * (matrix.length == 1 ? 8 : 1);
  const std::size_t width = std::max<std::size_t>(1, piece_bytes / (matrix.length * bytes_per_number));
  const std::size_t between_rows = std::min(most, matrix.rows / height);
  const std::size_t between_columns = std::min(most, matrix.columns / width);
  if (std::max(between_rows, between_columns) < 2) {
    add(matrix, columns);
  } else if (between_rows < between_columns) {
    const std::size_t step = matrix.columns / between_columns / width * width;
    const std::size_t chunks = matrix.columns / step;
    in_chunks(chunks, bytes, [&](std::size_t i) {
      const std::size_t count = i + 1 < chunks ? step : matrix.columns - i * step;
      add(matrix.part(0, matrix.rows, i * step, count), columns + i * step);
    });
  } else {
    const Own all(between_rows * matrix.columns);
    if (!all) {
      return false;
    }
    in_chunks(between_rows, bytes, [&](std::size_t i) {
      const std::size_t first = matrix.rows * i / between_rows, end = matrix.rows * (i + 1) / between_rows;
      add(matrix.part(first, end - first, 0, matrix.columns), all.columns() + i * matrix.columns);
    });
    for (std::size_t i = 0; i < between_rows; ++i) {
      columns.add(all.columns() + i * matrix.columns, matrix.columns);
    }
  }
  return true;
}

// How the numbers make up matrices. All values of a single unit are one column. A few positions are columns of their own.
// Several short rows make up one row, which has at least `block` numbers.
class Arrangement {
 public:
  Arrangement(std::size_t units, std::size_t positions, std::size_t block)
      : units_(units),
        rows_in_one_(units == 1 ? positions : 1),
        length_(units == 1 || positions < shortest_stretch ? 1 : positions),
        columns_(units == 1 ? 1 : units * (positions / length_)),
        merged_(length_ == 1 && columns_ < block ? (block + columns_ - 1) / columns_ : 1) {}

  std::size_t columns() const { return merged_ * columns_; }

  // Calls add(matrix) for one matrix that holds most of some rows, and for one that holds the rest.
  template <class Add>
  bool for_each_matrix(std::size_t first, std::size_t rows, Add add) const {
    const std::size_t stride = columns_ * length_, start = first * rows_in_one_ * stride;
    const std::size_t merged_rows = rows * rows_in_one_ / merged_;
    return add(Matrix{start, merged_rows, merged_ * columns_, length_, merged_ * stride}) &&
           add(Matrix{start + merged_rows * merged_ * stride, rows * rows_in_one_ % merged_, columns_, length_, stride});
  }

  bool has_a_column_per_unit() const { return merged_ * columns_ == units_; }

  template <class Columns>
  void add_to_units(const Columns& columns, const Columns& units) const {
    const std::size_t of_one_unit = columns_ / units_;
    for (std::size_t i = 0; i < merged_; ++i) {
      for (std::size_t unit = 0; unit < units_; ++unit) {
        for (std::size_t part = 0; part < of_one_unit; ++part) {
          (units + unit).add(columns + ((i * units_ + unit) * of_one_unit + part), 1);
        }
      }
    }
  }

 private:
  std::size_t units_;
  std::size_t rows_in_one_;
  std::size_t length_;
  std::size_t columns_;  // per row
  std::size_t merged_;   // rows that make up one
};

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
