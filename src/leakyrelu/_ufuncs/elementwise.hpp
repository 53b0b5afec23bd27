// One operation over contiguous memory: vector code, streaming stores, several threads. Knows neither Python nor NumPy.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "half_loops.hpp"
#include "isa.hpp"
#include "memory.hpp"
#include "slopes.hpp"
#include "thread_pool.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

inline constexpr std::size_t cache_line = 64;        // bytes
inline constexpr std::size_t tile_bytes = 4096;      // a small part of the first-level cache

// Bytes of results that one thread computes at a time. In larger blocks the caches fetch ahead for longer, which gains a
// twentieth beyond the second-level cache. There must be enough blocks to keep all threads busy until the end.
inline std::size_t block_bytes(std::size_t size) {
  constexpr std::size_t least = 1 << 15, most = 4 * least, blocks = 64;
  return std::clamp(size / blocks / least * least, least, most);
}

template <class T>
inline constexpr bool is_16_bit = std::is_same_v<T, half> || std::is_same_v<T, bfloat16>;

// Elements of one channel, from which on these are computed with its one slope. For 16-bit numbers, preparing the slope
// takes more time.
template <class Result>
inline constexpr std::size_t shortest_run = (is_16_bit<Result> ? 4 : 1) * cache_line / sizeof(Result);

// Whether the result replaces an input, element by element. ufunc_loop.hpp handles all other overlaps.
template <class Result, class... X>
inline bool lies_over(const Result* result, const X*... x) {
  return ((static_cast<const void*>(x) == result) || ...);
}

// `omp simd` (a promise to the compiler, not the OpenMP library) says that no element depends on another.
template <class Operation, class Slopes, class Result, class... X>
inline void loop(Slopes alpha, Result* result, std::size_t size, const X*... x) {
#pragma omp simd
  for (std::size_t i = 0; i < size; ++i) {
    result[i] = Operation::of(alpha[i], x[i]...);
  }
}

// The same where the result lies over none of its inputs, so that several vectors can be loaded before one is stored.
// That saves time: where the addresses of a store and a later load are equal modulo 4096, a processor takes the load for
// one of what it has just stored, and waits.
template <class Operation, class Slope, class Result, class... X>
inline void loop_apart(Constant<Slope> alpha, Result* __restrict result, std::size_t size, const X* __restrict... x) {
#pragma omp simd
  for (std::size_t i = 0; i < size; ++i) {
    result[i] = Operation::of(alpha.value, x[i]...);
  }
}

template <class Operation, class Slope, class Result, class... X>
inline void loop_apart(const Slope* __restrict alpha, Result* __restrict result, std::size_t size, const X* __restrict... x) {
#pragma omp simd
  for (std::size_t i = 0; i < size; ++i) {
    result[i] = Operation::of(alpha[i], x[i]...);
  }
}

template <class Operation, class Slope, class Result, class... X>
inline void loop_apart(Each<Slope> alpha, Result* result, std::size_t size, const X*... x) {
  loop_apart<Operation>(alpha.slopes, result, size, x...);
}

// The derivative has two values. With one slope for all, the 16-bit numbers are compared as they are, and none is widened.
template <class X>
inline void choose_16_bit(X below, X* result, std::size_t size, const X* x) {
  const X one = narrow<X>(1), infinity = narrow<X>(std::numeric_limits<double>::infinity());
#pragma omp simd
  for (std::size_t i = 0; i < size; ++i) {
    result[i].bits = x[i].bits > infinity.bits && x[i].bits != 0x8000 ? below.bits : one.bits;
  }
}

template <class Operation, class Slopes, class Result, class... X>
inline void loop_anyhow(Slopes alpha, Result* result, std::size_t size, const X*... x) {
  if constexpr (is_16_bit<Result>) {
    if constexpr (std::is_same_v<Operation, LeakyReluDerivative> && std::is_same_v<Slopes, Constant<float>>) {
      if (std::islessequal(std::fabs(alpha.value), 1)) {  // larger slopes may overflow, which only their use may report
        return choose_16_bit(narrow<Result>(alpha.value), result, size, x...);
      }
    }
    run_16_bit<Operation>(alpha, result, size, x...);
  } else if (lies_over(result, x...)) {
    loop<Operation>(alpha, result, size, x...);
  } else {
    loop_apart<Operation>(alpha, result, size, x...);
  }
}

// How many elements lie before the next cache line.
template <class T>
inline std::size_t head(const T* data, std::size_t size) {
  const std::size_t bytes = (cache_line - reinterpret_cast<std::uintptr_t>(data) % cache_line) % cache_line;
  return std::min(size, bytes / sizeof(T));
}

// The head is computed separately, because a vector that is stored across two cache lines costs two stores.
template <class Operation, class Slopes, class Result, class... X>
inline void run(Slopes alpha, Result* result, std::size_t size, const X*... x) {
  for (std::size_t start = 0, end = head(result, size); start < size; start = end, end = size) {
    loop_anyhow<Operation>(alpha + start, result + start, end - start, (x + start)...);
  }
}

template <class Operation, class Slope, class Result, class... X>
inline void run(Repeated<Slope> alpha, Result* result, std::size_t size, const X*... x) {
  for (std::size_t start = 0, n = head(result, size); start < size; start += n, n = std::min(size - start, alpha.run_length())) {
    run<Operation>(alpha.run(), result + start, n, (x + start)...);
    alpha = alpha + n;
  }
}

// Computes one cache line of results: the first `end` of them with one slope, the others with another.
template <class Operation, class Slope, class Result, class... X>
inline void run_line(Slope first, Slope second, int end, Result* result, const X*... x) {
  constexpr int line = cache_line / sizeof(Result);
  if constexpr (is_16_bit<Result>) {
    alignas(cache_line) Slope slopes[line];
    for (int i = 0; i < line; ++i) {
      slopes[i] = i < end ? first : second;
    }
    loop_anyhow<Operation>(Each<Slope>{slopes}, result, line, x...);
  } else {
#pragma omp simd
    for (int i = 0; i < line; ++i) {
      result[i] = Operation::of(i < end ? first : second, x[i]...);
    }
  }
}

// Computes whole cache lines of results, and returns how many elements these are. No run may be shorter than a line, so a
// line within which one run ends and the next one begins needs no more than two slopes. All other lines need one.
template <class Operation, class Slope, class Result, class... X>
inline std::size_t run_lines(const Channels<Slope>& alpha, Result* result, std::size_t size, const X*... x) {
  constexpr std::size_t line = cache_line / sizeof(Result);
  const std::size_t whole = size / line * line;
  const Slope* const last = alpha.slopes + alpha.channels - 1;
  const Slope* slope = alpha.slopes + alpha.channel;
  std::size_t left = alpha.run_length();
  for (std::size_t start = 0; start < whole;) {
    const std::size_t end = start + std::min(left, whole - start) / line * line;
    left -= end - start;
    if (end - start >= 8 * line || is_16_bit<Result>) {
      loop_anyhow<Operation>(Constant<Slope>{*slope}, result + start, end - start, (x + start)...);
      start = end;
    }
    for (; start < end; start += line) {
      run_line<Operation>(*slope, *slope, 0, result + start, (x + start)...);
    }
    if (start < whole) {
      const Slope* const next = slope == last ? alpha.slopes : slope + 1;
      run_line<Operation>(*slope, *next, static_cast<int>(left), result + start, (x + start)...);
      start += line;
      left += alpha.length - line;
      slope = next;
    }
  }
  return whole;
}

// Where each element has a channel of its own, the slopes are used where they lie. For other short runs they are written
// out, one tile at a time.
template <class Operation, class Slope, class Result, class... X>
inline void run(Channels<Slope> alpha, Result* result, std::size_t size, const X*... x) {
  constexpr std::size_t line = cache_line / sizeof(Result);
  constexpr std::size_t tile = tile_bytes / sizeof(Slope);
  alignas(cache_line) Slope slopes[tile + Channels<Slope>::slack];
  for (std::size_t start = 0, n = head(result, size); start < size; start += n, n = std::min(size - start, tile)) {
    if (alpha.length == 1) {
      n = std::min(alpha.channels - alpha.channel, size - start);
      run<Operation>(Each<Slope>{alpha.slopes + alpha.channel}, result + start, n, (x + start)...);
    } else if (n >= line && alpha.length >= shortest_run<Result>) {
      n = run_lines<Operation>(alpha, result + start, size - start, (x + start)...);
    } else {
      alpha.write(slopes, n);
      loop_anyhow<Operation>(Each<Slope>{slopes}, result + start, n, (x + start)...);
    }
    alpha = alpha + n;
  }
}

// Results are computed into a tile, which stays in the first-level cache, and streamed from there past the caches. Kept out
// of line, so that its tile takes none of the stack where nothing is streamed.
template <class Operation, class Slopes, class Result, class... X>
LEAKYRELU_NOINLINE void run_streaming(Slopes alpha, Result* result, std::size_t size, const X*... x) {
  alignas(cache_line) Result tile[tile_bytes / sizeof(Result)];
  std::size_t start = head(result, size);
  run<Operation>(alpha, result, start, x...);
  while (start < size) {
    const std::size_t n = std::min(tile_bytes / sizeof(Result), size - start);
    run<Operation>(alpha + start, tile, n, (x + start)...);
    stream(result + start, tile, n * sizeof(Result));
    start += n;
  }
  finish_streaming();
}

// Calls range(start, end) for ranges that make up [0, size), on several threads where there is enough memory to make that
// worth while. Each range has `step` elements, but the first has `first` more, and the last may have fewer. So where
// `first` elements lie before the next cache line, each later range begins at a cache line.
template <class Range>
inline void in_blocks(std::size_t first, std::size_t size, std::size_t step, std::size_t bytes_per_element, Range range) {
  if (size * bytes_per_element < memory_limits.threading) {
    range(0, size);
    return;
  }
  run_blocks((size - first + step - 1) / step, [=](std::size_t block) {
    const std::size_t start = first + block * step;
    range(block == 0 ? 0 : start, std::min(start + step, size));
  });
}

// result[i] = Operation(alpha[i], x[i]) or, for the backward pass, Operation(alpha[i], grad[i], x[i]).
//
// In place nothing is streamed, because memory that was just read is in a cache, where an ordinary store finds it.
template <class Operation, class Slopes, class Result, class... X>
inline void elementwise(Slopes alpha, Result* result, std::size_t size, const X*... x) {
  const std::size_t step = block_bytes(size * sizeof(Result)) / sizeof(Result);
  constexpr std::size_t bytes = (sizeof(Result) + ... + sizeof(X));
  const bool streaming =
      can_stream && cache_line % sizeof(Result) == 0 && !lies_over(result, x...) && size * bytes > memory_limits.streaming;
  const std::size_t first = size > step ? head(result, size) : 0;
  in_blocks(first, size, step, bytes, [=](std::size_t start, std::size_t end) {
    if (streaming) {
      run_streaming<Operation>(alpha + start, result + start, end - start, (x + start)...);
    } else {
      run<Operation>(alpha + start, result + start, end - start, (x + start)...);
    }
  });
}

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
