// The table of types: one row per type of number, with the loops for it.

#pragma once

#include <cstddef>

#include "counts.hpp"
#include "numpy_api.hpp"

namespace leakyrelu {

struct Loops {
  PyUFuncGenericFunction ufunc;     // NumPy's inner loop
  PyUFuncGenericFunction channels;  // one slope per channel; see ufunc_loop.hpp
};

// Writes the gradient with respect to the slope, per unit, from contiguous memory of the shape (rows, units, positions).
// Returns false where there is no memory.
using SlopeGradient = bool (*)(const void* grad, const void* x, std::size_t rows, std::size_t units, std::size_t positions,
                               void* result);

// For numbers of type x, alpha has type `slope` and the result type `result` (NumPy's type numbers).
struct Row {
  int x;
  int slope;
  int result;
  Loops leaky_relu;
  Loops derivative;
  Loops backward;
  Count count;                   // null for types that no activation takes
  SlopeGradient slope_gradient;  // null for integers
};

// bfloat16 belongs to ml_dtypes, which gets its number from NumPy at run time.
inline constexpr int bfloat16_number = -1;

inline constexpr int row_count = 16;
using Table = Row[row_count];

// One table for each instruction set, from loops.cpp; meson.build says which there are.
namespace baseline {
extern const Table table;
}
namespace avx2 {
extern const Table table;
}
namespace avx512 {
extern const Table table;
}

extern const Table* table;  // the table of the instruction set in use, which module.cpp chooses

}  // namespace leakyrelu
