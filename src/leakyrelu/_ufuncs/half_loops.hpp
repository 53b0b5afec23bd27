// float16 and bfloat16: the loops over vectors, whose last numbers may fill no whole one. Knows neither Python nor NumPy.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "half.hpp"
#include "half_simd.hpp"
#include "isa.hpp"
#include "slopes.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

// Kept out of line, so that the loops over vectors stay small.
template <class Operation, class Slopes, class X, class... Xs>
LEAKYRELU_NOINLINE void one_by_one(Slopes alpha, X* result, std::size_t size, const Xs*... x) {
#pragma omp simd
  for (std::size_t i = 0; i < size; ++i) {
    result[i] = Operation::of(alpha[i], x[i]...);
  }
}

#if defined(LEAKYRELU_HALF_SIMD)

// Computes `count` vectors, which are checked together before the first one is stored: the result may lie over an input.
// What is checked are the results or, in half the time for float16, the numbers that are multiplied.
template <std::size_t count, class Operation, bool checks_results, class AlphasAt, class Slopes, class X, class... Xs>
LEAKYRELU_INLINE void run_group(
    Flags& flags, AlphasAt alphas, Slopes alpha, X* result, std::size_t i, const X* multiplied, const Xs*... x) {
  constexpr std::size_t numbers = register_bytes / sizeof(X);
  Vector<X> y[count];
  Bits16 magnitude = {};
#pragma GCC unroll 4
  for (std::size_t k = 0; k < count; ++k) {
    const std::size_t at = i + k * numbers;
    y[k] = Operation::of(alphas(at), load_vector(multiplied + at), load_vector(x + at)...);
    magnitude = with_larger(magnitude, checks_results ? bits(y[k]) : load<Bits16>(multiplied + at));
  }
  if (__builtin_expect(any_special<X>(magnitude), false)) {
    set_flags(flags);
    one_by_one<Operation>(alpha + i, result + i, count * numbers, multiplied + i, (x + i)...);
    flags = get_flags();
  } else {
#pragma GCC unroll 4
    for (std::size_t k = 0; k < count; ++k) {
      store(result + i + k * numbers, y[k]);
    }
  }
}

// Computes as many of the first elements as fill whole vectors, and returns how many these are. `alphas(i)` returns the
// slopes for the vector that begins at element i: alpha[i], alpha[i + 1], and so on.
template <class Operation, bool checks_results = true, class AlphasAt, class Slopes, class X, class... Xs>
inline std::size_t run_vectors(AlphasAt alphas, Slopes alpha, X* result, std::size_t size, const Xs*... x) {
  constexpr std::size_t numbers = register_bytes / sizeof(X);
  Flags flags = get_flags();
  std::size_t i = 0;
  for (; i + group * numbers <= size; i += group * numbers) {
    run_group<group, Operation, checks_results>(flags, alphas, alpha, result, i, x...);
  }
  for (; i + numbers <= size; i += numbers) {
    run_group<1, Operation, checks_results>(flags, alphas, alpha, result, i, x...);
  }
  return i;
}

template <class Operation, class... Xs>
inline std::size_t run_vectors(Constant<float> alpha, half* result, std::size_t size, const Xs*... x) {
  const Alphas<half> all(alpha.value);
  const auto alphas = [=](std::size_t) { return all; };
  if (std::islessequal(std::fabs(alpha.value), 1)) {  // no product is larger than what is multiplied
    return run_vectors<Operation, false>(alphas, alpha, result, size, x...);
  }
  return run_vectors<Operation>(alphas, alpha, result, size, x...);
}

template <class Operation, class... Xs>
inline std::size_t run_vectors(Constant<float> alpha, bfloat16* result, std::size_t size, const Xs*... x) {
  if (may_tie<bfloat16>(alpha.value)) {
    const Alphas<bfloat16> all(alpha.value);
    return run_vectors<Operation>([=](std::size_t) { return all; }, alpha, result, size, x...);
  }
  const Float32 value = broadcast(alpha.value);
  const auto alphas = [=](std::size_t) { return Alphas<bfloat16>(prepare<bfloat16, false>(value)); };
  return run_vectors<Operation>(alphas, alpha, result, size, x...);
}

template <class Operation, class X, class... Xs>
inline std::size_t run_vectors(Each<float> alpha, X* result, std::size_t size, const Xs*... x) {
  return run_vectors<Operation>([=](std::size_t i) { return load_alphas<X>(alpha.slopes + i); }, alpha, result, size, x...);
}

// A few numbers, followed by zeros that make up a vector.
template <class T>
struct Padded {
  T values[register_bytes / 2] = {};
  Padded(const T* from, std::size_t size) { std::copy_n(from, size, values); }
};

inline Constant<float> padded(Constant<float> alpha, float*, std::size_t) { return alpha; }

inline Each<float> padded(Each<float> alpha, float* slopes, std::size_t size) {
  std::copy_n(alpha.slopes, size, slopes);
  return {slopes};
}

// Computes 16-bit numbers. The last ones, which fill no whole vector, are copied to where they do.
template <class Operation, class Slopes, class X, class... Xs>
inline void run_16_bit(Slopes alpha, X* result, std::size_t size, const Xs*... x) {
  constexpr std::size_t numbers = register_bytes / sizeof(X);
  const std::size_t done = run_vectors<Operation>(alpha, result, size, x...);
  if (const std::size_t rest = size - done; rest > 0) {
    float slopes[numbers] = {};
    X y[numbers];
    run_vectors<Operation>(padded(alpha + done, slopes, rest), y, numbers, Padded<Xs>(x + done, rest).values...);
    std::copy_n(y, rest, result + done);
  }
}

#else

template <class Operation, class Slopes, class X, class... Xs>
inline void run_16_bit(Slopes alpha, X* result, std::size_t size, const Xs*... x) {
  one_by_one<Operation>(alpha, result, size, x...);
}

#endif

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
