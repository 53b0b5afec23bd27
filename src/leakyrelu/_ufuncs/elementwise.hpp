// One operation over contiguous memory. Knows neither Python nor NumPy.
//
// `omp simd` (a promise to the compiler, not the OpenMP library) says that no element depends on another, so that a
// result may be written over its own input and the loop is still vectorised.

#pragma once

#include <cstddef>

namespace leakyrelu {
namespace LEAKYRELU_ISA {

// result[i] = Operation(alpha, x[i]) or, for the backward pass, Operation(alpha, grad[i], x[i]).
template <class Operation, class Slope, class Result, class... X>
inline void with_one_slope(Slope alpha, Result* result, std::size_t size, const X*... x) {
#pragma omp simd
  for (std::size_t i = 0; i < size; ++i) {
    result[i] = Operation::of(alpha, x[i]...);
  }
}

// The same with a slope for each element.
template <class Operation, class Slope, class Result, class... X>
inline void with_slopes(const Slope* alpha, Result* result, std::size_t size, const X*... x) {
#pragma omp simd
  for (std::size_t i = 0; i < size; ++i) {
    result[i] = Operation::of(alpha[i], x[i]...);
  }
}

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
