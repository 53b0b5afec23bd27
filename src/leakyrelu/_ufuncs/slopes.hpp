// Where the slope of each element comes from: one for all, one per element, or one per channel.

#pragma once

#include <algorithm>
#include <cstddef>

#include "isa.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

// One slope for all.
template <class T>
struct Constant {
  T value;
  T operator[](std::size_t) const { return value; }
  Constant operator+(std::size_t) const { return *this; }
};

// A slope for each element.
template <class T>
struct Each {
  const T* slopes;
  T operator[](std::size_t i) const { return slopes[i]; }
  Each operator+(std::size_t n) const { return {slopes + n}; }
};

// A slope for each channel. The elements of a channel lie in runs of `length`, and after the last channel the first one
// comes again.
template <class T>
struct Channels {
  const T* slopes;
  std::size_t channels;
  std::size_t length;
  std::size_t channel = 0;
  std::size_t position = 0;  // within the run

  std::size_t run_length() const { return length - position; }

  // Inlining keeps the result in registers. (Otherwise its fields are written to memory one by one and read back
  // together, for which a processor has to wait.)
  LEAKYRELU_INLINE Channels operator+(std::size_t n) const {
    Channels moved = *this;
    moved.position += n;
    if (moved.position >= length) {
      const std::size_t runs = moved.position < 2 * length ? 1 : moved.position / length;  // usually without a division
      moved.position -= runs * length;
      moved.channel += runs;
      if (moved.channel >= channels) {
        moved.channel %= channels;
      }
    }
    return moved;
  }

  // Writes out the slopes of the next `size` elements. What comes after them, up to `slack` elements, may be overwritten.
  static constexpr std::size_t slack = 64 / sizeof(T);
  void write(T* to, std::size_t size) const {
    const std::size_t period = std::min(size, channels * length);
    if (length == 1) {
      const std::size_t n = std::min(period, channels - channel);
      std::copy_n(slopes + channel, n, to);
      std::copy_n(slopes, period - n, to + n);
    } else {
      const T* slope = slopes + channel;
      for (std::size_t start = 0, end = run_length(); start < period; start = end, end += length) {
        const T value = *slope;
        std::fill_n(to + start, slack, value);
        for (std::size_t i = start + slack; i < std::min(end, period); i += slack) {
          std::fill_n(to + i, slack, value);
        }
        slope = slope + 1 == slopes + channels ? slopes : slope + 1;
      }
    }
    for (std::size_t done = period; done < size;) {
      const std::size_t n = std::min(done / period * period, size - done);
      std::copy_n(to, n, to + done);
      done += n;
    }
  }
};

// The same where the channels repeat after few elements. The slopes are written out, one per element, for whole periods
// and `margin` elements more. So every run can end where a cache line ends, and none is short.
template <class T>
struct Repeated {
  static constexpr std::size_t line = 64;  // elements, which fill whole cache lines whatever their type
  static constexpr std::size_t margin = 512;
  const T* slopes;
  std::size_t period;
  std::size_t position = 0;

  Each<T> run() const { return {slopes + position}; }
  std::size_t run_length() const { return (period + margin - position) / line * line; }
  Repeated operator+(std::size_t n) const { return {slopes, period, (position + n) % period}; }
};

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
