// One operation over contiguous memory. Knows neither Python nor NumPy.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "isa.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

// One number that reads like an array of it.
template <class T>
struct Constant {
  T value;
  T operator[](std::size_t) const { return value; }
  Constant operator+(std::size_t) const { return *this; }
};

// `omp simd` (a promise to the compiler, not the OpenMP library) says that no element depends on another: a result may
// be written over its own input, and the loop is still vectorised.
template <class Operation, class Slopes, class Result, class... X>
inline void run(Slopes alpha, Result* result, std::size_t size, const X*... x) {
#pragma omp simd
  for (std::size_t i = 0; i < size; ++i) {
    result[i] = Operation::of(alpha[i], x[i]...);
  }
}

// result[i] = Operation(alpha[i], x[i]) or, for the backward pass, Operation(alpha[i], grad[i], x[i]).
// The first elements go by themselves, up to a boundary of cache lines: a vector stored across one costs two stores.
template <class Operation, class Slopes, class Result, class... X>
inline void elementwise(Slopes alpha, Result* result, std::size_t size, const X*... x) {
  constexpr std::size_t line = 64;
  const std::size_t bytes = (line - reinterpret_cast<std::uintptr_t>(result) % line) % line;
  const std::size_t head = std::min(size, bytes / sizeof(Result));
  run<Operation>(alpha, result, head, x...);
  run<Operation>(alpha + head, result + head, size - head, (x + head)...);
}

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
