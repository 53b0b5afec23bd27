// NumPy's inner loop: by stride, onto the loops over contiguous memory.
//
// What lies contiguous is used where it lies. What does not is gathered into a block that stays in the first-level
// cache, computed there by the same vector code, and scattered from there.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "elementwise.hpp"
#include "isa.hpp"
#include "numpy_api.hpp"
#include "scalar.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

inline constexpr std::size_t block_size = 512;  // elements

template <class T>
class Input {
 public:
  Input(const char* data, npy_intp stride) : data_(data), stride_(stride) {}

  bool contiguous() const { return stride_ == sizeof(T); }
  bool constant() const { return stride_ == 0; }
  T first() const { return *reinterpret_cast<const T*>(data_); }

  const T* block(std::size_t start, std::size_t size) {
    const char* from = data_ + static_cast<npy_intp>(start) * stride_;
    if (contiguous()) {
      return reinterpret_cast<const T*>(from);
    }
    for (std::size_t i = 0; i < size; ++i, from += stride_) {
      buffer_[i] = *reinterpret_cast<const T*>(from);
    }
    return buffer_;
  }

 private:
  const char* data_;
  npy_intp stride_;
  T buffer_[block_size];
};

template <class T>
class Output {
 public:
  Output(char* data, npy_intp stride) : data_(data), stride_(stride) {}

  bool contiguous() const { return stride_ == sizeof(T); }

  T* block(std::size_t start) {
    return contiguous() ? reinterpret_cast<T*>(data_) + start : buffer_;
  }

  void finish(std::size_t start, std::size_t size) {
    if (contiguous()) {
      return;
    }
    char* to = data_ + static_cast<npy_intp>(start) * stride_;
    for (std::size_t i = 0; i < size; ++i, to += stride_) {
      *reinterpret_cast<T*>(to) = buffer_[i];
    }
  }

 private:
  char* data_;
  npy_intp stride_;
  T buffer_[block_size];
};

template <class Operation, class Slope, class Result, class... X>
inline void ufunc_loop(std::size_t size, Input<Slope> alpha, Output<Result> result, Input<X>... x) {
  const bool contiguous = result.contiguous() && (x.contiguous() && ...) && (alpha.constant() || alpha.contiguous());
  const std::size_t step = contiguous ? size : block_size;
  for (std::size_t start = 0; start < size; start += step) {
    const std::size_t n = std::min(step, size - start);
    if (alpha.constant()) {
      elementwise<Operation>(Constant<Slope>{alpha.first()}, result.block(start), n, x.block(start, n)...);
    } else {
      elementwise<Operation>(alpha.block(start, n), result.block(start), n, x.block(start, n)...);
    }
    result.finish(start, n);
  }
}

// leaky_relu and its derivative: (x, alpha) -> result.
template <class Operation, class X>
void unary_loop(char** args, const npy_intp* dimensions, const npy_intp* steps, void*) {
  ufunc_loop<Operation>(static_cast<std::size_t>(dimensions[0]), Input<typename Arithmetic<X>::slope>(args[1], steps[1]),
                        Output<typename Arithmetic<X>::result>(args[2], steps[2]), Input<X>(args[0], steps[0]));
}

// The backward pass: (grad, x, alpha) -> result.
template <class Operation, class X>
void binary_loop(char** args, const npy_intp* dimensions, const npy_intp* steps, void*) {
  ufunc_loop<Operation>(static_cast<std::size_t>(dimensions[0]), Input<typename Arithmetic<X>::slope>(args[2], steps[2]),
                        Output<typename Arithmetic<X>::result>(args[3], steps[3]), Input<X>(args[0], steps[0]),
                        Input<X>(args[1], steps[1]));
}

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
