// The table of types: a row a type of number, with the three loops for it.

#pragma once

#include "numpy_api.hpp"

namespace leakyrelu {

// For numbers of type x, alpha has type `slope` and the result type `result` (NumPy's type numbers).
struct Row {
  int x;
  int slope;
  int result;
  PyUFuncGenericFunction leaky_relu;
  PyUFuncGenericFunction derivative;
  PyUFuncGenericFunction backward;
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

}  // namespace leakyrelu
