// Tests the gradient with respect to the slope by itself: every length of a run, every number of columns, and threads. The
// memory ends with the last number, so that AddressSanitizer sees what is read beside it. tests/test_ufuncs/test_cpp.py
// compiles and runs it.
//
// With --quick, as for an emulated processor, it takes fewer shapes.

#include "slope_gradient.hpp"

#include "failures.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

using namespace leakyrelu;
using namespace leakyrelu::LEAKYRELU_ISA;

namespace {

template <class X>
X number(double value) {
  if constexpr (std::is_floating_point_v<X>) {
    return static_cast<X>(value);
  } else {
    return narrow<X>(value);
  }
}

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
  for (std::size_t rows : {1, 3, 8, 9, 21}) {
    for (std::size_t size = 1; size <= 150; size += step) {
      test<X>(name, rows, 1, size);
      test<X>(name, rows, 3, size);
      test<X>(name, rows, size, 1);
      test<X>(name, rows, size, 3);
    }
  }
  // Large enough for several chunks, which are cut between rows and between columns.
  constexpr std::size_t large[][3] = {{5, 3, 20011}, {3, 1, 40009},  {2000, 10, 49},
                                      {40, 300, 17}, {2003, 100, 1}, {3, 50021, 1}};
  for (const auto& shape : large) {
    test<X>(name, shape[0], shape[1], shape[2]);
  }
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
