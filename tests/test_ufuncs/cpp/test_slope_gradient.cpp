// Tests the gradient with respect to the slope by itself: every length of a run, every number of columns, and threads. The
// memory ends with the last number, so that AddressSanitizer sees what is read beside it. tests/test_ufuncs/test_cpp.py
// compiles and runs it.
//
// With --quick, as for an emulated processor, it takes fewer shapes.

#include "slope_gradient.hpp"

#include "failures.hpp"
#include "matrices.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

using namespace leakyrelu;
using namespace leakyrelu::LEAKYRELU_ISA;

namespace {

// Sums of products of multiples of 1/4 are exact. Where x >= 0, the gradient is infinite or NaN.
double x_at(std::size_t i) { return static_cast<double>(i * 2654435761u >> 7 & 15) / 4 - 2; }
double grad_at(std::size_t i) {
  return x_at(i) < 0 ? static_cast<double>(i * 2246822519u >> 9 & 7) / 4 - 0.75 : i % 2 == 0 ? INFINITY : NAN;
}

template <class X>
bool same(X a, X b) {
  const auto x = widen(a), y = widen(b);
  return x == y || (std::isnan(x) && std::isnan(y));
}

template <class X>
void test(const char* name, std::size_t rows, std::size_t units, std::size_t positions) {
  const std::size_t size = rows * units * positions;
  const std::unique_ptr<X[]> grad(new X[size]), x(new X[size]);
  std::vector<double> sums(units);
  for (std::size_t i = 0; i < size; ++i) {
    grad[i] = number<X>(grad_at(i));
    x[i] = number<X>(x_at(i));
    sums[i / positions % units] += x_at(i) < 0 ? grad_at(i) * x_at(i) : 0;
  }
  const auto check = [&](std::size_t nan, int threads) {
    set_num_threads(threads);
    memory_limits.threading = threads == 1 ? never : 0;
    const std::unique_ptr<X[]> result(new X[units]);
    const bool complete = slope_gradient<X>(grad.get(), x.get(), rows, units, positions, result.get());
    for (std::size_t unit = 0; unit < units; ++unit) {
      if (!complete || !same(result[unit], number<X>(unit == nan ? static_cast<double>(NAN) : sums[unit]))) {
        fail("%s (%zu, %zu, %zu): unit %zu, %d threads\n", name, rows, units, positions, unit, threads);
      }
    }
  };
  check(units, 1);
  check(units, 3);
  for (const std::size_t i : {std::size_t{0}, size / 3, size - 1}) {
    x[i] = number<X>(NAN);
    check(i / positions % units, 1);
    x[i] = number<X>(x_at(i));
  }
}

template <class X>
void test_all(const char* name, std::size_t step) {
  const auto test_shape = [name](std::size_t rows, std::size_t columns, std::size_t length) {
    test<X>(name, rows, columns, length);
  };
  for_each_small_shape(step, test_shape);
  for_each_large_shape(test_shape);
}

}  // namespace

int main(int count, char** arguments) {
  const std::size_t step = count > 1 && std::strcmp(arguments[1], "--quick") == 0 ? 7 : 1;
  test_all<half>("float16", step);
  test_all<bfloat16>("bfloat16", step);
  test_all<float>("float", step);
  test_all<double>("double", step);
  test_all<long double>("long double", step);
  if (failures > 0) {
    std::fprintf(stderr, "%d failures\n", failures);
    return 1;
  }
}
