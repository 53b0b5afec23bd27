// NumPy's inner loop, which goes by stride to the loops over contiguous memory.
//
// A contiguous operand is used where it lies. Any other is gathered into a buffer that stays in the first-level cache.
// The same vector code works on the buffer, and the results are scattered from there.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <numeric>
#include <tuple>

#include "elementwise.hpp"
#include "isa.hpp"
#include "numpy_api.hpp"
#include "scalar.hpp"
#include "slopes.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

// Elements in each of the buffers of a loop, which fill whole cache lines whatever their type. All buffers together take
// 2.25 KiB at most, as a thread may have a small stack.
template <class... T>
inline constexpr std::size_t buffer_size = 2304 / sizeof...(T) / std::max({sizeof(T)...}) / 32 * 32;

// An operand as NumPy hands it over: where it lies, and the bytes from one element to the next.
struct Operand {
  char* data;
  npy_intp stride;
  char* at(std::size_t i) const { return data + static_cast<npy_intp>(i) * stride; }
};

// Whether two operands have a byte in common. Both have `size` elements, of `a_bytes` and `b_bytes` each.
inline bool meet(Operand a, std::size_t a_bytes, Operand b, std::size_t b_bytes, std::size_t size) {
  const auto begin = [=](Operand operand) { return std::min(operand.data, operand.at(size - 1)); };
  const auto end = [=](Operand operand, std::size_t bytes) { return std::max(operand.data, operand.at(size - 1)) + bytes; };
  return size > 0 && begin(a) < end(b, b_bytes) && begin(b) < end(a, a_bytes);
}

template <class T, std::size_t size>
class Input {
 public:
  explicit Input(Operand operand) : operand_(operand) {}

  const T* block(std::size_t start, std::size_t n) {
    const char* from = operand_.at(start);
    if (operand_.stride == sizeof(T)) {
      return reinterpret_cast<const T*>(from);
    }
    for (std::size_t i = 0; i < n; ++i, from += operand_.stride) {
      buffer_[i] = *reinterpret_cast<const T*>(from);
    }
    return buffer_;
  }

 private:
  Operand operand_;
  alignas(cache_line) T buffer_[size];
};

template <class T, std::size_t size>
class Output {
 public:
  Output(Operand operand, bool in_order) : operand_(operand), buffered_(in_order || operand.stride != sizeof(T)) {}

  // How many of the next elements to compute at a time: where they are not buffered, the next block begins at a cache line.
  std::size_t block_size(std::size_t start) const {
    return buffered_ ? size : size - reinterpret_cast<std::uintptr_t>(operand_.at(start)) % cache_line / sizeof(T);
  }

  T* block(std::size_t start) { return buffered_ ? buffer_ : reinterpret_cast<T*>(operand_.at(start)); }

  void finish(std::size_t start, std::size_t n) {
    if (!buffered_) {
      return;
    }
    char* to = operand_.at(start);
    for (std::size_t i = 0; i < n; ++i, to += operand_.stride) {
      *reinterpret_cast<T*>(to) = buffer_[i];
    }
  }

 private:
  Operand operand_;
  bool buffered_;
  alignas(cache_line) T buffer_[size];
};

// Computes the elements from `start` to `end` by way of the buffers. (These are passed by reference, as a copy of them would
// lie on the stack, too.)
template <class Operation, std::size_t size, class Slope, class Result, class... X>
inline void buffered(std::size_t start, std::size_t end, bool one_slope, Input<Slope, size>&& alpha, Output<Result, size>&& result,
                     Input<X, size>&&... x) {
  const Constant<Slope> slope{*alpha.block(start, 1)};
  for (std::size_t n; start < end; start += n) {
    n = std::min(result.block_size(start), end - start);
    if (one_slope) {
      run<Operation>(slope, result.block(start), n, x.block(start, n)...);
    } else {
      run<Operation>(Each<Slope>{alpha.block(start, n)}, result.block(start), n, x.block(start, n)...);
    }
    result.finish(start, n);
  }
}

template <class Operation, class... X, class... Operands>
inline void ufunc_loop(std::size_t size, Operand alpha, Operand result, Operands... x) {
  using First = std::tuple_element_t<0, std::tuple<X...>>;
  using Slope = typename Arithmetic<First>::slope;
  using Result = typename Arithmetic<First>::result;
  constexpr std::size_t block = buffer_size<Slope, Result, X...>;
  const bool one_slope = alpha.stride == 0;
  const bool contiguous = result.stride == sizeof(Result) && ((x.stride == sizeof(X)) && ...);
  // NumPy makes no copy where an input runs ahead of the result over the same memory. There the elements are read and
  // written in order, so that nothing is overwritten before it is read. Results that overlap one another (a stride of
  // zero) are written in order too.
  const auto crosses = [=](Operand input, std::size_t bytes) {
    return meet(input, bytes, result, sizeof(Result), size) && (input.data != result.data || input.stride != result.stride);
  };
  const bool in_order = static_cast<std::size_t>(std::abs(result.stride)) < sizeof(Result) || (crosses(x, sizeof(X)) || ...) ||
                        meet(alpha, sizeof(Slope), result, sizeof(Result), size);
  if (in_order) {
    buffered<Operation>(0, size, one_slope, Input<Slope, block>(alpha), Output<Result, block>(result, true), Input<X, block>(x)...);
  } else if (contiguous && one_slope) {
    elementwise<Operation>(Constant<Slope>{*reinterpret_cast<const Slope*>(alpha.data)}, reinterpret_cast<Result*>(result.data),
                           size, reinterpret_cast<const X*>(x.data)...);
  } else if (contiguous && alpha.stride == sizeof(Slope)) {
    elementwise<Operation>(Each<Slope>{reinterpret_cast<const Slope*>(alpha.data)}, reinterpret_cast<Result*>(result.data), size,
                           reinterpret_cast<const X*>(x.data)...);
  } else {
    const auto range = [=](std::size_t start, std::size_t end) {
      buffered<Operation>(start, end, one_slope, Input<Slope, block>(alpha), Output<Result, block>(result, false), Input<X, block>(x)...);
    };
    in_blocks(0, size, 16 * block, (sizeof(Result) + ... + sizeof(X)), range);
  }
}

// One slope per channel, over contiguous memory. There are `channels` slopes, and `length` is that of a channel's runs.
template <class Operation, class Slope, class Result, class... X>
inline void channel_loop(std::size_t size, std::size_t channels, std::size_t length, const Slope* slopes, Result* result,
                         const X*... x) {
  // Slopes that are written out once stay in the first-level cache if they take no more than a third of it. That is better
  // than choosing them line by line where many runs end. Where runs are too short for that, it is better as well if the
  // slopes stay in the second-level cache. A period fills whole cache lines, so that wherever the slopes begin again, the
  // slopes and the results both begin a cache line.
  constexpr std::size_t line = cache_line / std::min(sizeof(Slope), sizeof(Result));
  const bool too_short = length > 1 && length < shortest_run<Result>;
  const bool many_ends = length < 4 * cache_line / sizeof(Result);
  const std::size_t most = (too_short ? 1 << 16 : many_ends ? 1 << 13 : 0) / sizeof(Slope);
  const Channels<Slope> alpha{slopes, channels, length};
  const std::size_t shortest = std::lcm(std::min(channels * length, most + 1), line);
  const std::size_t period = shortest * std::max<std::size_t>(1, (1 << 12) / sizeof(Slope) / shortest);
  const std::size_t written = period + Repeated<Slope>::margin;
  std::unique_ptr<Slope[]> memory;
  if (period <= most && written < size / 4) {
    memory.reset(new (std::nothrow) Slope[written + 2 * line + Channels<Slope>::slack]);
  }
  if (memory == nullptr) {
    elementwise<Operation>(alpha, result, size, x...);
    return;
  }
  Slope* const each = memory.get() + head(memory.get(), line) + line - head(result, size) % line;
  alpha.write(each, written);
  elementwise<Operation>(Repeated<Slope>{each, period}, result, size, x...);
}

template <class T>
inline std::size_t unsigned_at(const T* values, int i) {
  return static_cast<std::size_t>(values[i]);
}

// NumPy calls this for leaky_relu and its derivative: (x, alpha) -> result.
template <class Operation, class X>
void unary_loop(char** args, const npy_intp* dimensions, const npy_intp* steps, void*) {
  ufunc_loop<Operation, X>(unsigned_at(dimensions, 0), Operand{args[1], steps[1]}, Operand{args[2], steps[2]},
                           Operand{args[0], steps[0]});
}

// NumPy calls this for the backward pass: (grad, x, alpha) -> result.
template <class Operation, class X>
void binary_loop(char** args, const npy_intp* dimensions, const npy_intp* steps, void*) {
  ufunc_loop<Operation, X, X>(unsigned_at(dimensions, 0), Operand{args[2], steps[2]}, Operand{args[3], steps[3]},
                              Operand{args[0], steps[0]}, Operand{args[1], steps[1]});
}

// The same with one slope per channel. The dimensions are the size, the number of channels, and the length of a channel's
// runs. All operands are contiguous.
template <class Operation, class X>
void unary_channels(char** args, const npy_intp* dimensions, const npy_intp*, void*) {
  channel_loop<Operation>(unsigned_at(dimensions, 0), unsigned_at(dimensions, 1), unsigned_at(dimensions, 2),
                          reinterpret_cast<const typename Arithmetic<X>::slope*>(args[1]),
                          reinterpret_cast<typename Arithmetic<X>::result*>(args[2]), reinterpret_cast<const X*>(args[0]));
}

template <class Operation, class X>
void binary_channels(char** args, const npy_intp* dimensions, const npy_intp*, void*) {
  channel_loop<Operation>(unsigned_at(dimensions, 0), unsigned_at(dimensions, 1), unsigned_at(dimensions, 2),
                          reinterpret_cast<const typename Arithmetic<X>::slope*>(args[2]),
                          reinterpret_cast<typename Arithmetic<X>::result*>(args[3]), reinterpret_cast<const X*>(args[0]),
                          reinterpret_cast<const X*>(args[1]));
}

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
