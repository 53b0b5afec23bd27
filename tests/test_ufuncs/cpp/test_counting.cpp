// Tests the counting by itself: every length of a run, every number of columns, and threads. The memory ends with the last
// number, so that AddressSanitizer sees what is read beside it. tests/test_ufuncs/test_cpp.py compiles and runs it.
//
// With --quick, as for an emulated processor, it takes fewer shapes.

#include "counting.hpp"

#include "failures.hpp"
#include "matrices.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

using namespace leakyrelu;
using namespace leakyrelu::LEAKYRELU_ISA;

namespace {

// The counts of some units, before and after.
struct Found {
  std::vector<std::int64_t> fired;
  std::vector<std::uint8_t> below;
  std::vector<double> maximum, magnitude;

  explicit Found(std::size_t units) : fired(units), below(units), maximum(units, -INFINITY), magnitude(units) {}

  Counts counts() { return {fired.data(), below.data(), maximum.data(), magnitude.data()}; }

  bool operator==(const Found& other) const {
    return fired == other.fired && below == other.below && maximum == other.maximum && magnitude == other.magnitude;
  }
};

// Multiples of 1/4 from -2 to 2 have exact sums, so that all results are exact.
constexpr Activation activation{0.5, -0.25};

template <class X>
class Numbers {
 public:
  Numbers(std::size_t rows, std::size_t units, std::size_t positions)
      : rows_(rows), units_(units), positions_(positions), x_(new X[rows * units * positions]) {
    for (std::size_t i = 0; i < rows * units * positions; ++i) {
      x_[i] = number<X>(at(i));
    }
  }

  void test(const char* name) {
    std::vector<std::int64_t> kept;
    for (std::int64_t row = 0; row < static_cast<std::int64_t>(rows_); ++row) {
      if (row % 7 != 2 && row % 5 != 0) {
        kept.push_back(row);
      }
    }
    check(name, nullptr, rows_);
    if (positions_ == 1 && !kept.empty()) {
      check(name, kept.data(), kept.size());
    }
  }

  // Puts a number that is not finite at some places.
  void test_special(const char* name) {
    const std::size_t size = rows_ * units_ * positions_;
    for (const double special : {static_cast<double>(NAN), static_cast<double>(INFINITY), -static_cast<double>(INFINITY)}) {
      for (const std::size_t i : {std::size_t{0}, size / 3, size - 1}) {
        x_[i] = number<X>(special);
        Found found(units_);
        if (count<X>(values(nullptr, 0), activation, found.counts()) || !(found == Found(units_))) {
          fail("%s (%zu, %zu, %zu): %f at %zu was counted\n", name, rows_, units_, positions_, special, i);
        }
        x_[i] = number<X>(at(i));
      }
    }
  }

 private:
  static double at(std::size_t i) { return static_cast<double>(i * 2654435761u >> 7 & 15) / 4 - 2; }

  Values values(const std::int64_t* kept, std::size_t kept_rows) const {
    return {x_.get(), rows_, units_, positions_, kept, kept_rows};
  }

  void check(const char* name, const std::int64_t* kept, std::size_t kept_rows) {
    Found expected(units_);
    for (std::size_t i = 0; i < kept_rows; ++i) {
      const std::size_t row = kept == nullptr ? i : static_cast<std::size_t>(kept[i]);
      for (std::size_t j = 0; j < units_ * positions_; ++j) {
        const std::size_t unit = j / positions_;
        const double x = at(row * units_ * positions_ + j);
        expected.fired[unit] += x > activation.threshold;
        expected.below[unit] |= x < activation.threshold;
        expected.maximum[unit] = std::fmax(expected.maximum[unit], x);
        expected.magnitude[unit] += std::fabs(x > 0 ? x : activation.slope * x);
      }
    }
    for (const int threads : {1, 3}) {
      set_num_threads(threads);
      memory_limits.threading = threads == 1 ? never : 0;
      Found found(units_);
      if (!count<X>(values(kept, kept_rows), activation, found.counts()) || !(found == expected)) {
        fail("%s (%zu, %zu, %zu), %zu rows, %d threads\n", name, rows_, units_, positions_, kept_rows, threads);
      }
    }
  }

  std::size_t rows_, units_, positions_;
  std::unique_ptr<X[]> x_;
};

template <class X>
void test(const char* name, std::size_t step) {
  for_each_small_shape(step, [name](std::size_t rows, std::size_t columns, std::size_t length) {
    Numbers<X>(rows, columns, length).test(name);
  });
  for_each_large_shape([name](std::size_t rows, std::size_t columns, std::size_t length) {
    Numbers<X> numbers(rows, columns, length);
    numbers.test(name);
    numbers.test_special(name);
  });
  Numbers<X>(5, 7, 1).test_special(name);
  Numbers<X>(5, 7, 33).test_special(name);
}

}  // namespace

int main(int count, char** arguments) {
  const std::size_t step = count > 1 && std::strcmp(arguments[1], "--quick") == 0 ? 7 : 1;
  test<half>("float16", step);
  test<bfloat16>("bfloat16", step);
  test<float>("float", step);
  test<double>("double", step);
  if (failures > 0) {
    std::fprintf(stderr, "%d failures\n", failures);
    return 1;
  }
}
