// What the counting takes and gives, for every type of number and every instruction set. Knows neither Python nor NumPy.

#pragma once

#include <cstddef>
#include <cstdint>

namespace leakyrelu {

// What enters an activation: numbers of one type, in contiguous memory of the shape (rows, units, positions).
struct Values {
  const void* data;
  std::size_t rows;
  std::size_t units;
  std::size_t positions;
  // Where some rows are padding, the indices of the others, in ascending order. Then each row has one position.
  const std::int64_t* kept;
  std::size_t kept_rows;
};

// The counts so far, per unit. Those that are null are not counted.
struct Counts {
  std::int64_t* fired;  // how many values were above the threshold
  std::uint8_t* below;  // whether any was below it
  double* maximum;
  double* magnitude;  // the sum of |output| of a Leaky ReLU
};

struct Activation {
  double threshold;
  double slope;  // below zero
};

// Adds the values to the counts. Returns false where it has added nothing, and another way of counting has to be taken:
// where the values of a unit have no finite sum, where there are more than an int32 counts, where there is no memory, and where
// an index is not that of a row.
using Count = bool (*)(const Values& values, const Activation& activation, const Counts& counts);

}  // namespace leakyrelu
