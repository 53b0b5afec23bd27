// What the tests of the kernels that add up per unit share: the shapes, and numbers of any floating-point type.

#pragma once

#include <cstddef>
#include <type_traits>

#include "half.hpp"
#include "isa.hpp"

namespace {

template <class X>
X number(double value) {
  if constexpr (std::is_floating_point_v<X>) {
    return static_cast<X>(value);
  } else {
    return leakyrelu::LEAKYRELU_ISA::narrow<X>(value);
  }
}

// Calls test(rows, columns, length) for every length of a run and every number of columns.
template <class Test>
void for_each_small_shape(std::size_t step, Test test) {
  for (std::size_t rows : {1, 3, 8, 9, 21}) {
    for (std::size_t size = 1; size <= 150; size += step) {
      test(rows, std::size_t(1), size);
      test(rows, std::size_t(3), size);
      test(rows, size, std::size_t(1));
      test(rows, size, std::size_t(3));
    }
  }
}

// Large enough for several chunks, which are cut between rows and between columns.
template <class Test>
void for_each_large_shape(Test test) {
  constexpr std::size_t large[][3] = {{5, 3, 20011}, {3, 1, 40009},  {2000, 10, 49},
                                      {40, 300, 17}, {2003, 100, 1}, {3, 50021, 1}};
  for (const auto& shape : large) {
    test(shape[0], shape[1], shape[2]);
  }
}

}  // namespace
