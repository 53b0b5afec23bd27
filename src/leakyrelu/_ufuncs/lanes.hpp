// What is counted of some values, in registers and in memory. Knows neither Python nor NumPy.
//
// A vector has one lane per number, and each lane is counted by itself.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>

#include "half.hpp"
#include "half_simd.hpp"
#include "isa.hpp"
#include "scalar.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

// A 16-bit number is counted as the float32 that it equals.
template <class X>
using Counting = std::conditional_t<std::is_same_v<X, double>, double, float>;

// A vector, or a single number where the compiler has no vectors.
#if LEAKYRELU_VECTOR_EXTENSIONS
#if defined(LEAKYRELU_HALF_SIMD)
inline constexpr std::size_t vector_bytes = register_bytes;
#else
inline constexpr std::size_t vector_bytes = 16;
#endif
template <class T>
struct LanesOf {
  typedef T type __attribute__((vector_size(vector_bytes)));
};
template <class T>
using Lanes = typename LanesOf<T>::type;
#else
template <class T>
using Lanes = T;
#endif

template <class T>
inline constexpr std::size_t lane_count = sizeof(Lanes<T>) / sizeof(T);

// So many vectors lie side by side in registers, each with all that is counted of it.
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr std::size_t most_vectors = 4;
#else
inline constexpr std::size_t most_vectors = 2;
#endif

// How often a lane was above the threshold.
template <class T>
using Times = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

#if LEAKYRELU_VECTOR_EXTENSIONS
using LaneBits = std::uint32_t __attribute__((vector_size(vector_bytes)));

// GCC 12 would widen half a vector at a time.
inline LaneBits load_bits(const bfloat16* x) {
#if defined(__AVX512BW__)
  return bit_cast<LaneBits>(_mm512_maskz_cvtepu16_epi32(0xffff, load<HalfRegister>(x)));
#elif defined(__AVX2__) && defined(LEAKYRELU_HALF_SIMD)
  return bit_cast<LaneBits>(_mm256_cvtepu16_epi32(load<HalfRegister>(x)));
#else
  using Bits16 = std::uint16_t __attribute__((vector_size(vector_bytes / 2)));
  Bits16 bits;
  std::memcpy(&bits, x, sizeof bits);
  return __builtin_convertvector(bits, LaneBits);
#endif
}
#endif

template <class V, class X>
inline V load_lanes(const X* x) {
  using T = Counting<X>;
  if constexpr (std::is_same_v<V, T>) {
    return widen(*x);
#if LEAKYRELU_VECTOR_EXTENSIONS
  } else if constexpr (std::is_same_v<X, T>) {
    V lanes;
    std::memcpy(&lanes, x, sizeof lanes);
    return lanes;
#if defined(LEAKYRELU_HALF_SIMD)
  } else if constexpr (std::is_same_v<X, half>) {
    return bit_cast<V>(widen_register(load<HalfRegister>(x)));
#endif
  } else if constexpr (std::is_same_v<X, bfloat16>) {
    return bit_cast<V>(load_bits(x) << 16);
  } else {
    T lanes[lane_count<T>];
#pragma omp simd
    for (std::size_t i = 0; i < lane_count<T>; ++i) {
      lanes[i] = widen(x[i]);
    }
    return load_lanes<V>(lanes);
#endif
  }
}

// These four take vectors and numbers. A NaN may give either operand, as it shows in the sum.

template <class V>
inline V smaller(V a, V b) {
  return a < b ? a : b;
}

template <class V>
inline V larger(V a, V b) {
  return a > b ? a : b;
}

template <class V, class T>
inline V get(const T* from) {
  V to;
  std::memcpy(&to, from, sizeof to);
  return to;
}

template <class V, class T>
inline void put(T* to, V from) {
  std::memcpy(to, &from, sizeof from);
}

// Adds each lane to a float64.
template <class V>
inline void add_widened(double* to, V x) {
#if LEAKYRELU_VECTOR_EXTENSIONS
  if constexpr (std::is_same_v<V, Lanes<float>>) {
    using Half = float __attribute__((vector_size(vector_bytes / 2)));
    Half halves[2];
    std::memcpy(halves, &x, sizeof halves);
    add_widened(to, __builtin_convertvector(halves[0], Lanes<double>));
    add_widened(to + lane_count<double>, __builtin_convertvector(halves[1], Lanes<double>));
    return;
  } else
#endif
  {
    using Sum = std::conditional_t<std::is_same_v<V, float>, double, V>;
    put(to, get<Sum>(to) + static_cast<Sum>(x));
  }
}

// Combines all lanes, half of them with the other half, and so on.
template <class V, class Combine>
LEAKYRELU_INLINE auto combined(V lanes, [[maybe_unused]] Combine combine) {
#if LEAKYRELU_VECTOR_EXTENSIONS
  if constexpr (!std::is_arithmetic_v<V>) {
    using T = std::remove_reference_t<decltype(lanes[0])>;
    if constexpr (sizeof(V) == 2 * sizeof(T)) {
      return static_cast<T>(combine(T{lanes[0]}, T{lanes[1]}));
    } else {
      typedef T Half __attribute__((vector_size(sizeof(V) / 2)));
      Half halves[2];
      std::memcpy(halves, &lanes, sizeof halves);
      return combined(combine(halves[0], halves[1]), combine);
    }
  } else
#endif
  {
    return lanes;
  }
}

// Adds 1 where x is above the threshold. In a mask, true is -1.
template <class Fired, class V, class T>
inline Fired add_fired(Fired fired, V x, T threshold) {
  if constexpr (std::is_same_v<V, T>) {
    return fired + (x > threshold);
  } else {
    return fired - (x > threshold);
  }
}

template <class V>
inline V add_positive(V sum, V x) {
  return sum + (x > 0 ? x : V{});
}

#if LEAKYRELU_VECTOR_EXTENSIONS && defined(__AVX512BW__)

// A mask of AVX-512 chooses the lanes of an addition, but GCC 12 makes more instructions of the functions above.

inline Lanes<float> smaller(Lanes<float> a, Lanes<float> b) { return _mm512_maskz_min_ps(0xffff, a, b); }
inline Lanes<float> larger(Lanes<float> a, Lanes<float> b) { return _mm512_maskz_max_ps(0xffff, a, b); }
inline Lanes<double> smaller(Lanes<double> a, Lanes<double> b) { return _mm512_maskz_min_pd(0xff, a, b); }
inline Lanes<double> larger(Lanes<double> a, Lanes<double> b) { return _mm512_maskz_max_pd(0xff, a, b); }

template <class Fired>
inline Fired add_fired(Fired fired, Lanes<float> x, float threshold) {
  const __mmask16 above = _mm512_cmp_ps_mask(x, _mm512_set1_ps(threshold), _CMP_GT_OQ);
  const auto n = bit_cast<__m512i>(fired);
  return bit_cast<Fired>(_mm512_mask_sub_epi32(n, above, n, _mm512_set1_epi32(-1)));
}

template <class Fired>
inline Fired add_fired(Fired fired, Lanes<double> x, double threshold) {
  const __mmask8 above = _mm512_cmp_pd_mask(x, _mm512_set1_pd(threshold), _CMP_GT_OQ);
  const auto n = bit_cast<__m512i>(fired);
  return bit_cast<Fired>(_mm512_mask_sub_epi64(n, above, n, _mm512_set1_epi64(-1)));
}

inline Lanes<float> add_positive(Lanes<float> sum, Lanes<float> x) {
  return _mm512_mask_add_ps(sum, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ), sum, x);
}

inline Lanes<double> add_positive(Lanes<double> sum, Lanes<double> x) {
  return _mm512_mask_add_pd(sum, _mm512_cmp_pd_mask(x, _mm512_setzero_pd(), _CMP_GT_OQ), sum, x);
}

#endif

// What is counted per column, in memory. A column is a unit, or a part of one.
template <class T>
struct Columns {
  Times<T>* fired;
  T* minimum;
  T* maximum;
  double* above;
  double* sum;

  Columns operator+(std::size_t columns) const {
    return {fired + columns, minimum + columns, maximum + columns, above + columns, sum + columns};
  }

  void clear(std::size_t columns) const {
    std::fill_n(fired, columns, Times<T>{0});
    std::fill_n(minimum, columns, std::numeric_limits<T>::infinity());
    std::fill_n(maximum, columns, -std::numeric_limits<T>::infinity());
    std::fill_n(above, columns, 0.0);
    std::fill_n(sum, columns, 0.0);
  }

  void add(const Columns& other, std::size_t columns) const {
    for (std::size_t i = 0; i < columns; ++i) {
      fired[i] += other.fired[i];
      minimum[i] = smaller(other.minimum[i], minimum[i]);
      maximum[i] = larger(other.maximum[i], maximum[i]);
      above[i] += other.above[i];
      sum[i] += other.sum[i];
    }
  }
};

// Columns with memory of their own; false where there was none.
template <class T>
class OwnColumns {
 public:
  explicit OwnColumns(std::size_t size)
      : size_((size + 15) / 16 * 16), memory_(new (std::nothrow) double[(size_ * bytes + aligned) / sizeof(double)]) {
    if (memory_ != nullptr) {
      columns().clear(size);
    }
  }

  explicit operator bool() const { return memory_ != nullptr; }

  // Each array begins at a cache line, as a vector that lies across two takes twice the time.
  Columns<T> columns() const {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.get());
    double* const above = memory_.get() + (aligned - address % aligned) % aligned / sizeof(double);
    T* const minimum = reinterpret_cast<T*>(above + 2 * size_);
    return {reinterpret_cast<Times<T>*>(minimum + 2 * size_), minimum, minimum + size_, above, above + size_};
  }

 private:
  static constexpr std::size_t aligned = 64;
  static constexpr std::size_t bytes = 2 * sizeof(double) + 2 * sizeof(T) + sizeof(Times<T>);  // per column
  std::size_t size_;
  std::unique_ptr<double[]> memory_;
};

// The lanes of a mask, which is true in as many of the last lanes as the mask is loaded from behind the first mark.
template <class T, std::size_t lanes>
struct Marks {
  Times<T> each[2 * lanes]{};
  constexpr Marks() {
    for (std::size_t i = lanes; i < 2 * lanes; ++i) {
      each[i] = -1;
    }
  }
};

// The same for the columns of some vectors, in registers. V is a vector of T, or T itself.
template <class T, class V, std::size_t vectors>
struct Registers {
  using Mask = decltype(V{} > V{});  // of a vector, true is -1
  using Fired = std::conditional_t<std::is_same_v<Mask, bool>, Times<T>, Mask>;
  static constexpr std::size_t lanes = sizeof(V) / sizeof(T);

  Fired fired[vectors];
  V minimum[vectors], maximum[vectors], above[vectors], sum[vectors];

  LEAKYRELU_INLINE Registers() {
    for (std::size_t i = 0; i < vectors; ++i) {
      fired[i] = Fired{};
      minimum[i] = V{} + std::numeric_limits<T>::infinity();
      maximum[i] = V{} - std::numeric_limits<T>::infinity();
      above[i] = sum[i] = V{};
    }
  }

  // A mask that is true in the last lanes.
  LEAKYRELU_INLINE static Mask last_lanes(std::size_t count) {
    static constexpr Marks<T, lanes> marks;
    Mask mask;
    std::memcpy(&mask, marks.each + count, sizeof mask);
    return mask;
  }

  // All three are the same value, except in lanes that do not count.
  LEAKYRELU_INLINE void add(std::size_t i, V compared, V limiting, V summed, T threshold) {
    fired[i] = add_fired(fired[i], compared, threshold);
    minimum[i] = smaller(limiting, minimum[i]);
    maximum[i] = larger(limiting, maximum[i]);
    above[i] = add_positive(above[i], summed);
    sum[i] += summed;
  }

  // Adds `count` vectors to each of these, which lie `stride` numbers apart.
  template <class X>
  LEAKYRELU_INLINE void add(const X* x, std::size_t count, std::size_t stride, T threshold) {
    for (std::size_t row = 0; row < count; ++row, x += stride) {
      for (std::size_t i = 0; i < vectors; ++i) {
        const V value = load_lanes<V>(x + i * lanes);
        add(i, value, value, value, threshold);
      }
    }
  }

  // Adds the last `count` lanes of a vector, which are not all of them.
  template <class X>
  LEAKYRELU_INLINE void add_last(const X* x, std::size_t count, T threshold) {
    const Mask mask = last_lanes(count);
    const V value = load_lanes<V>(x), last = V{} + load_lanes<T>(x + lanes - 1);
    add(0, mask ? value : V{} + threshold, mask ? value : last, mask ? value : V{}, threshold);
  }

  // Adds all of these vectors to the first one of `to`.
  LEAKYRELU_INLINE void add_to(Registers<T, V, 1>& to) const {
    for (std::size_t i = 0; i < vectors; ++i) {
      to.fired[0] += fired[i];
      to.minimum[0] = smaller(minimum[i], to.minimum[0]);
      to.maximum[0] = larger(maximum[i], to.maximum[0]);
      to.above[0] += above[i];
      to.sum[0] += sum[i];
    }
  }

  // Adds all lanes of the first vector to one column.
  LEAKYRELU_INLINE void add_to_one(const Columns<T>& column) const {
    column.fired[0] += combined(fired[0], [](auto a, auto b) { return a + b; });
    column.minimum[0] = smaller(combined(minimum[0], [](auto a, auto b) { return smaller(a, b); }), column.minimum[0]);
    column.maximum[0] = larger(combined(maximum[0], [](auto a, auto b) { return larger(a, b); }), column.maximum[0]);
    column.above[0] += static_cast<double>(combined(above[0], [](auto a, auto b) { return a + b; }));
    column.sum[0] += static_cast<double>(combined(sum[0], [](auto a, auto b) { return a + b; }));
  }

  // Leaves out what all but the last `count` lanes have added up. Their limits may stay, as these lanes were added before.
  LEAKYRELU_INLINE void keep_last(std::size_t count) {
    const Mask mask = last_lanes(count);
    fired[0] = mask ? fired[0] : Fired{};
    above[0] = mask ? above[0] : V{};
    sum[0] = mask ? sum[0] : V{};
  }

  LEAKYRELU_INLINE void add_to(const Columns<T>& columns) const {
    for (std::size_t i = 0, at = 0; i < vectors; ++i, at += lanes) {
      put(columns.fired + at, get<Fired>(columns.fired + at) + fired[i]);
      put(columns.minimum + at, smaller(minimum[i], get<V>(columns.minimum + at)));
      put(columns.maximum + at, larger(maximum[i], get<V>(columns.maximum + at)));
      add_widened(columns.above + at, above[i]);
      add_widened(columns.sum + at, sum[i]);
    }
  }
};

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
