// One operation over contiguous memory: vector code, streaming stores, several threads. Knows neither Python nor NumPy.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "isa.hpp"
#include "memory.hpp"
#include "slopes.hpp"
#include "thread_pool.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

inline constexpr std::size_t cache_line = 64;        // bytes
inline constexpr std::size_t tile_bytes = 4096;      // small beside the first-level cache
inline constexpr std::size_t block_bytes = 1 << 16;  // of results, for one thread at a time

// `omp simd` (a promise to the compiler, not the OpenMP library) says that no element depends on another.
template <class Operation, class Slopes, class Result, class... X>
inline void loop(Slopes alpha, Result* result, std::size_t size, const X*... x) {
#pragma omp simd
  for (std::size_t i = 0; i < size; ++i) {
    result[i] = Operation::of(alpha[i], x[i]...);
  }
}

// The same where the result lies over none of its inputs, so that several vectors can be loaded before one is stored.
// A processor takes a load for one of what it has just stored where the two addresses are equal modulo 4096, and waits.
template <class Operation, class Slopes, class Result, class... X>
inline void loop_apart(Slopes alpha, Result* __restrict result, std::size_t size, const X* __restrict... x) {
#pragma omp simd
  for (std::size_t i = 0; i < size; ++i) {
    result[i] = Operation::of(alpha[i], x[i]...);
  }
}

template <class Operation, class Slopes, class Result, class... X>
inline void run(Slopes alpha, Result* result, std::size_t size, const X*... x) {
  if constexpr (Slopes::in_runs) {
    for (std::size_t start = 0; start < size;) {
      const std::size_t n = std::min(size - start, alpha.run_length());
      run<Operation>(alpha.run(), result + start, n, (x + start)...);
      alpha = alpha + n;
      start += n;
    }
  } else if (((static_cast<const void*>(x) == result) || ...)) {
    loop<Operation>(alpha, result, size, x...);
  } else {
    loop_apart<Operation>(alpha, result, size, x...);
  }
}

// Results are computed in a tile, in the first-level cache, and streamed from there past the caches.
template <class Operation, class Slopes, class Result, class... X>
inline void run_streaming(Slopes alpha, Result* result, std::size_t size, const X*... x) {
  alignas(cache_line) Result tile[tile_bytes / sizeof(Result)];
  constexpr std::size_t step = tile_bytes / sizeof(Result);
  for (std::size_t start = 0; start < size; start += step) {
    const std::size_t n = std::min(step, size - start);
    run<Operation>(alpha + start, tile, n, (x + start)...);
    stream(result + start, tile, n * sizeof(Result));
  }
  finish_streaming();
}

// Elements up to the next boundary of cache lines: a vector stored across one costs two stores.
template <class T>
inline std::size_t head(const T* data, std::size_t size) {
  const std::size_t bytes = (cache_line - reinterpret_cast<std::uintptr_t>(data) % cache_line) % cache_line;
  return std::min(size, bytes / sizeof(T));
}

// Calls range(start, end) for stretches of `step` elements that make up [first, size): on several threads, where there
// is so much memory to go through that it is worth waking them.
template <class Range>
inline void in_blocks(std::size_t first, std::size_t size, std::size_t step, std::size_t bytes_an_element, Range range) {
  if (size * bytes_an_element < memory_limits.threading) {
    range(first, size);
    return;
  }
  run_blocks((size - first + step - 1) / step, [=](std::size_t block) {
    const std::size_t start = first + block * step;
    range(start, std::min(start + step, size));
  });
}

// result[i] = Operation(alpha[i], x[i]) or, for the backward pass, Operation(alpha[i], grad[i], x[i]).
//
// Memory that was just read is in a cache, and an ordinary store finds it there: so in place nothing is streamed.
template <class Operation, class Slopes, class Result, class... X>
inline void elementwise(Slopes alpha, Result* result, std::size_t size, const X*... x) {
  const std::size_t first = head(result, size);
  const bool in_place = ((static_cast<const void*>(x) == result) || ...);
  const bool streaming = can_stream && !in_place && size * sizeof(Result) > memory_limits.streaming;
  run<Operation>(alpha, result, first, x...);
  in_blocks(first, size, block_bytes / sizeof(Result), (sizeof(Result) + ... + sizeof(X)), [=](std::size_t start, std::size_t end) {
    if (streaming) {
      run_streaming<Operation>(alpha + start, result + start, end - start, (x + start)...);
    } else {
      run<Operation>(alpha + start, result + start, end - start, (x + start)...);
    }
  });
}

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
