// Tests the kernel headers by themselves, with every 16-bit number, every head and every tail.
// tests/test_ufuncs/test_cpp.py compiles and runs it.
//
// With --quick, as for an emulated processor, it takes fewer slopes and fewer lengths.

#include "elementwise.hpp"
#include "half_simd.hpp"
#include "scalar.hpp"
#include "thread_pool.hpp"

#include "failures.hpp"

#include <cfenv>
#include <cfloat>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

using namespace leakyrelu;
using namespace leakyrelu::LEAKYRELU_ISA;

namespace {

constexpr int watched_flags = FE_OVERFLOW | FE_INVALID;
constexpr std::size_t all = 65536;  // 16-bit numbers

// The 16-bit formats, as they are defined.

template <class X>
struct Format;
template <>
struct Format<half> {
  static constexpr const char* name = "float16";
  static constexpr int exponent_bits = 5, fraction_bits = 10;
};
template <>
struct Format<bfloat16> {
  static constexpr const char* name = "bfloat16";
  static constexpr int exponent_bits = 8, fraction_bits = 7;
};
template <class X>
constexpr int bias = (1 << (Format<X>::exponent_bits - 1)) - 1;

template <class X>
double decode(unsigned bits) {
  const unsigned fraction = bits & ((1u << Format<X>::fraction_bits) - 1);
  const int exponent = static_cast<int>((bits & 0x7fffu) >> Format<X>::fraction_bits);
  double magnitude;
  if (exponent == (1 << Format<X>::exponent_bits) - 1) {
    magnitude = fraction == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    magnitude = std::ldexp(fraction, 1 - bias<X> - Format<X>::fraction_bits);
  } else {
    magnitude = std::ldexp(fraction + (1u << Format<X>::fraction_bits), exponent - bias<X> - Format<X>::fraction_bits);
  }
  return (bits & 0x8000u) != 0 ? -magnitude : magnitude;
}

template <class X>
bool is_signaling(unsigned bits) {
  return std::isnan(decode<X>(bits)) && (bits & (1u << (Format<X>::fraction_bits - 1))) == 0;
}

// Rounds x to a multiple of the step between the numbers of the format there, ties to even.
template <class X>
double rounded(double x) {
  if (x == 0 || !std::isfinite(x)) {
    return x;
  }
  const int exponent = std::max(std::ilogb(x), 1 - bias<X>);
  const double step = std::ldexp(1, exponent - Format<X>::fraction_bits);
  const double result = std::nearbyint(x / step) * step;
  return std::fabs(result) < std::ldexp(1, bias<X> + 1) ? result : std::copysign(INFINITY, x);
}

struct Expected {
  double value;
  int flags;
};

// The product of a float16 or bfloat16 and a float32 is exact in float64.
template <class X>
Expected expected_product(double x, float alpha) {
  const double exact = x * static_cast<double>(alpha);
  const double value = rounded<X>(exact);
  const bool overflow = std::isinf(value) && std::isfinite(exact);
  const bool invalid = std::isnan(value) && !std::isnan(x) && !std::isnan(alpha);
  return {value, (overflow ? FE_OVERFLOW : 0) | (invalid ? FE_INVALID : 0)};
}

bool same(double a, double b) {
  return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b);
}

std::vector<float> slopes(bool quick) {
  std::vector<float> slopes = {0.01f, 0.3f, 0.25f, -0.0f, -0.5f, 1e-40f, 3.4e38f, 1.5f};
  if (!quick) {
    for (float slope : {0.0f, 0.1f, 1 / 3.0f, 1.0f, -1.0f, 2.0f, 100.0f, -100.0f, 1e-8f, 1e-30f, -1e-39f, 1e30f, FLT_MIN,
                        FLT_MIN / 2, FLT_TRUE_MIN, FLT_MAX, -FLT_MAX, INFINITY, NAN}) {
      slopes.push_back(slope);
    }
    // The number of bits decides whether a product is exact, and whether it can be a tie.
    for (int bits : {2, 7, 8, 9, 10, 11, 12, 13, 14, 15, 24}) {
      slopes.push_back(1 + std::ldexp(1.0f, 1 - bits));
      slopes.push_back(std::ldexp(1 + std::ldexp(1.0f, 1 - bits), -126 + bits % 5));
    }
    // The product of such a slope and `factor` is just beside a tie: it ends in zeros and a 1, in a 1, zeros and a 1, or in
    // a 0 and ones.
    for (std::uint32_t factor : {171u, 1201u, 2047u}) {
      std::uint32_t inverse = 1;  // modulo 2^32, by Newton's method
      for (int i = 0; i < 5; ++i) {
        inverse *= 2 - factor * inverse;
      }
      for (int bits : {10, 13, 14, 24}) {
        for (std::uint32_t end : {1u, (1u << (bits - 1)) + 1, (1u << (bits - 1)) - 1}) {
          slopes.push_back(std::ldexp(static_cast<float>(end * inverse & ((1u << bits) - 1)), -bits));
        }
      }
    }
    std::mt19937 random(1);
    for (int i = 0; i < 4; ++i) {
      slopes.push_back(bit_cast<float>(static_cast<std::uint32_t>(random())));
    }
  }
  return slopes;
}

template <class X>
class Every16BitNumber {
 public:
  explicit Every16BitNumber(bool quick) : slopes_(slopes(quick)) {
    for (unsigned bits = 0; bits < all; ++bits) {
      values_.push_back(decode<X>(bits));
    }
    for (float slope : slopes_) {
      for (double value : values_) {
        products_.push_back(expected_product<X>(value, slope));
      }
      ones_.push_back(expected_product<X>(1, slope));
    }
  }

  // Takes the numbers in ascending order, where most vectors hold ordinary numbers alone, and mixed, where few do. Each
  // slope begins with another number, so that every number comes to every place of a vector.
  void test() {
    for (std::size_t slope = 0; slope < slopes_.size(); ++slope) {
      for (unsigned stride : {1u, 40503u}) {
        for (std::size_t i = 0; i < all; ++i) {
          x_[i].bits = static_cast<std::uint16_t>((i + slope) * stride);
          sign_[i].bits = signs()[(i * 2654435761u >> 7) % signs().size()];
          slope_at_[i] = slope;
        }
        with_slopes(Constant<float>{slopes_[slope]});
        // One slope per element, most of them the same.
        for (std::size_t i = 0; i < all; ++i) {
          slope_at_[i] = i % 64 < 7 ? (slope + i) % slopes_.size() : slope;
          slope_[i] = slopes_[slope_at_[i]];
        }
        with_slopes(Each<float>{slope_.data()});
      }
    }
  }

 private:
  static const std::vector<std::uint16_t>& signs() {
    static const std::vector<std::uint16_t> bits = {0x3f80, 0xbf80, 0xc000, 0x4000, 0x0000, 0x8000, 0x0001, 0x8001,
                                                    0xff80, 0x7c00, 0xfc00, 0xbc00, 0x3c00, 0xb800, 0xffff, 0x7fff};
    return bits;
  }

  template <class Slopes>
  void with_slopes(Slopes alpha) {
    run<LeakyRelu>("leaky_relu", alpha, x_, x_, [this](std::size_t i) { return chosen(i, x_[i], x_[i]); });
    run<LeakyReluDerivative>("leaky_relu_derivative", alpha, x_, x_, [this](std::size_t i) {
      return values_[x_[i].bits] >= 0 ? Expected{1, 0} : ones_[slope_at_[i]];
    });
    run<LeakyReluBackward>("leaky_relu_backward", alpha, x_, sign_, [this](std::size_t i) { return chosen(i, x_[i], sign_[i]); });
  }

  Expected chosen(std::size_t i, X factor, X sign) const {
    return values_[sign.bits] >= 0 ? Expected{values_[factor.bits], 0} : products_[slope_at_[i] * all + factor.bits];
  }

  // Runs one cache line at a time, so that the flags of each are seen.
  template <class Operation, class Slopes, class Oracle>
  void run(const char* name, Slopes alpha, const std::vector<X>& x, const std::vector<X>& sign, Oracle oracle) {
    constexpr std::size_t step = 32;
    for (std::size_t start = 0; start < all; start += step) {
      std::feclearexcept(FE_ALL_EXCEPT);
      if constexpr (std::is_same_v<Operation, LeakyReluBackward>) {
        elementwise<Operation>(alpha + start, result_ + start, step, x.data() + start, sign.data() + start);
      } else {
        elementwise<Operation>(alpha + start, result_ + start, step, x.data() + start);
      }
      const int flags = std::fetestexcept(watched_flags);
      int expected_flags = 0;
      bool signaling = false;
      for (std::size_t i = start; i < start + step; ++i) {
        const Expected expected = oracle(i);
        expected_flags |= expected.flags;
        signaling |= is_signaling<X>(x[i].bits) || is_signaling<X>(sign[i].bits) || std::isnan(slopes_[slope_at_[i]]);
        if (!same(values_[result_[i].bits], expected.value)) {
          fail("%s of %s: slope %a, x %04x, sign of %04x: %04x instead of %a\n", name, Format<X>::name,
               static_cast<double>(slopes_[slope_at_[i]]), x[i].bits, sign[i].bits, result_[i].bits, expected.value);
        }
      }
      const int ignored = signaling ? FE_INVALID : 0;  // a signaling NaN may raise it or not
      if ((flags | ignored) != (expected_flags | ignored)) {
        fail("%s of %s: slope %a, x from %04x: flags %x instead of %x\n", name, Format<X>::name,
             static_cast<double>(slopes_[slope_at_[start]]), x[start].bits, flags, expected_flags);
      }
    }
  }

  std::vector<float> slopes_;
  std::vector<double> values_;
  std::vector<Expected> products_;  // for each slope, those of each number
  std::vector<Expected> ones_;      // for each slope, that of the number 1
  std::vector<X> x_{all}, sign_{all};
  std::vector<std::size_t> slope_at_ = std::vector<std::size_t>(all);
  std::vector<float> slope_ = std::vector<float>(all);
  alignas(64) static inline X result_[all];
};

// Vectors are used wherever the build has them.
template <class X>
void test_whole_vectors_are_taken() {
#if defined(LEAKYRELU_HALF_SIMD)
  std::vector<X> x(1000), result(1000);
  const std::size_t taken = run_vectors<LeakyRelu>(Constant<float>{0.01f}, result.data(), x.size(), x.data());
  if (taken != x.size() / (register_bytes / sizeof(X)) * (register_bytes / sizeof(X))) {
    fail("%s: %zu of 1000 numbers taken as vectors\n", Format<X>::name, taken);
  }
#endif
}

template <class X>
X number(int i) {
  const int value = (i * 7919) % 201 - 100;
  if constexpr (std::is_arithmetic_v<X>) {
    return static_cast<X>(value);
  } else {
    return narrow<X>(value / 4.0);
  }
}

template <>
boolean number<boolean>(int i) {
  return {static_cast<std::uint8_t>(i * 7919 % 3)};
}

bool same_bits(half a, half b) { return a.bits == b.bits; }
bool same_bits(bfloat16 a, bfloat16 b) { return a.bits == b.bits; }
template <class T>
bool same_bits(T a, T b) {
  return a == b && std::signbit(a) == std::signbit(b);
}

// Every length, at every distance from a cache line, gives the right results and writes nothing beside them.
template <class Operation, class X>
class EveryLength {
  using Slope = typename Arithmetic<X>::slope;
  using Result = typename Arithmetic<X>::result;
  static constexpr bool binary = std::is_same_v<Operation, LeakyReluBackward>;
  static constexpr std::size_t longest = 200, offsets = 65, guard = 64, room = guard + offsets + longest + guard;

 public:
  explicit EveryLength(const char* name) : name_(name), slopes_(room), x_(room), grad_(room) {
    for (std::size_t i = 0; i < room; ++i) {
      slopes_[i] = static_cast<Slope>(i % 5) / 8;
      x_[i] = number<X>(static_cast<int>(i));
      grad_[i] = number<X>(static_cast<int>(i + 77));
    }
  }

  void test(std::size_t step) {
    for (std::size_t streaming : {never, std::size_t{0}}) {
      memory_limits.streaming = streaming;
      memory_limits.threading = streaming;
      for (std::size_t size = 0; size <= longest; size += step) {
        for (std::size_t offset = 0; offset < offsets; offset += step) {
          check(Constant<Slope>{Slope(0.01L)}, size, offset, false);
          check(Each<Slope>{slopes_.data() + offset}, size, offset, false);
          if constexpr (std::is_same_v<X, Result>) {
            check(Constant<Slope>{Slope(0.01L)}, size, offset, true);
            check(Each<Slope>{slopes_.data() + offset}, size, offset, true);
          }
        }
      }
    }
    memory_limits.streaming = never;
    memory_limits.threading = never;
  }

 private:
  template <class Slopes>
  void check(Slopes alpha, std::size_t size, std::size_t offset, bool in_place) {
    constexpr unsigned char fill = 0xa5;
    const std::size_t before = (guard + offset) * sizeof(Result), bytes = size * sizeof(Result);
    std::memset(memory_, fill, sizeof memory_);
    Result* result = reinterpret_cast<Result*>(memory_ + before);
    const X* x = x_.data() + offset;
    const X* grad = grad_.data() + offset;
    if constexpr (std::is_same_v<X, Result>) {
      if (in_place) {
        std::memcpy(memory_ + before, binary ? grad : x, bytes);
        (binary ? grad : x) = result;
      }
    }
    if constexpr (binary) {
      elementwise<Operation>(alpha, result, size, grad, x);
    } else {
      elementwise<Operation>(alpha, result, size, x);
    }
    for (std::size_t i = 0; i < size; ++i) {
      if (!same_bits(result[i], expected(alpha[i], offset + i))) {
        fail("%s: size %zu, offset %zu%s: element %zu\n", name_, size, offset, in_place ? ", in place" : "", i);
      }
    }
    for (std::size_t i = 0; i < sizeof memory_; ++i) {
      if ((i < before || i >= before + bytes) && memory_[i] != fill) {
        fail("%s: size %zu, offset %zu%s: byte %td, which is outside of the result\n", name_, size, offset, in_place ? ", in place" : "",
             static_cast<std::ptrdiff_t>(i) - static_cast<std::ptrdiff_t>(before));
        return;
      }
    }
  }

  Result expected(Slope alpha, std::size_t i) const {
    if constexpr (binary) {
      return Operation::of(alpha, grad_[i], x_[i]);
    } else {
      return Operation::of(alpha, x_[i]);
    }
  }

  const char* name_;
  std::vector<Slope> slopes_;
  std::vector<X> x_, grad_;
  alignas(64) unsigned char memory_[room * sizeof(Result)];
};

template <class X>
void test_every_length(const char* name, std::size_t step) {
  EveryLength<LeakyRelu, X>(name).test(step);
  EveryLength<LeakyReluDerivative, X>(name).test(step);
  EveryLength<LeakyReluBackward, X>(name).test(step);
}

template <class X, class Slopes, class Slope>
void test_many_blocks(const char* name, Slopes alpha, const Slope* slopes, std::size_t channels, std::size_t length) {
  using Result = typename Arithmetic<X>::result;
  constexpr std::size_t size = 100003;
  std::vector<X> x(size);
  for (std::size_t i = 0; i < size; ++i) {
    x[i] = number<X>(static_cast<int>(i % 1000));
  }
  for (std::size_t streaming : {never, std::size_t{0}}) {
    for (int threads : {1, 3}) {
      memory_limits.streaming = streaming;
      memory_limits.threading = 0;
      set_num_threads(threads);
      std::vector<Result> result(size);
      elementwise<LeakyRelu>(alpha, result.data(), size, x.data());
      for (std::size_t i = 0; i < size; ++i) {
        if (!same_bits(result[i], LeakyRelu::of(slopes[i / length % channels], x[i]))) {
          fail("%s: %zu channels, runs of %zu, %d threads: element %zu\n", name, channels, length, threads, i);
        }
      }
    }
  }
  set_num_threads(1);
  memory_limits.streaming = never;
  memory_limits.threading = never;
}

// Many blocks, streamed or not, on one thread or several, and channels that begin and end anywhere in them.
template <class X>
void test_channels(const char* name) {
  using Slope = typename Arithmetic<X>::slope;
  const Slope slopes[] = {Slope(0.5), Slope(0.25), Slope(0.01L), Slope(-1), Slope(3)};
  constexpr std::size_t channels = 5;
  test_many_blocks<X>(name, Constant<Slope>{slopes[0]}, slopes, 1, 1);
  for (std::size_t length : {1, 13, 1237, 9973}) {
    const Channels<Slope> alpha = {slopes, channels, length};
    test_many_blocks<X>(name, alpha, slopes, channels, length);
    std::vector<Slope> written(channels * length + Repeated<Slope>::margin);
    alpha.write(written.data(), written.size());
    test_many_blocks<X>(name, Repeated<Slope>{written.data(), channels * length}, slopes, channels, length);
  }
}

template <class X>
void test_type(const char* name, std::size_t step) {
  test_every_length<X>(name, step);
  test_channels<X>(name);
}

}  // namespace

int main(int count, char** arguments) {
  const bool quick = count > 1 && std::strcmp(arguments[1], "--quick") == 0;
  Every16BitNumber<half>(quick).test();
  Every16BitNumber<bfloat16>(quick).test();
  test_whole_vectors_are_taken<half>();
  test_whole_vectors_are_taken<bfloat16>();
  const std::size_t step = quick ? 7 : 1;
  test_type<half>("float16", step);
  test_type<bfloat16>("bfloat16", step);
  test_type<float>("float", step);
  test_type<double>("double", step);
  test_type<long double>("long double", step);
  test_type<int>("int", step);
  test_type<boolean>("bool", step);
  if (failures > 0) {
    std::fprintf(stderr, "%d failures\n", failures);
    return 1;
  }
}
