// Where the slope of each element comes from: one for all, one an element, or one a channel.

#pragma once

#include <algorithm>
#include <cstddef>

#include "isa.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

// One slope for all.
template <class T>
struct Constant {
  static constexpr bool in_runs = false;
  T value;
  T operator[](std::size_t) const { return value; }
  Constant operator+(std::size_t) const { return *this; }
};

// A slope for each element.
template <class T>
struct Each {
  static constexpr bool in_runs = false;
  const T* slopes;
  T operator[](std::size_t i) const { return slopes[i]; }
  Each operator+(std::size_t n) const { return {slopes + n}; }
};

// A slope for each channel; a channel's elements lie in runs of `length`, and after the last channel comes the first.
template <class T>
struct Channels {
  static constexpr bool in_runs = true;
  const T* slopes;
  std::size_t channels;
  std::size_t length;
  std::size_t channel = 0;
  std::size_t position = 0;  // in the run

  Constant<T> run() const { return {slopes[channel]}; }
  std::size_t run_length() const { return length - position; }
  Channels operator+(std::size_t n) const {
    Channels moved = *this;
    moved.position += n;
    if (moved.position >= length) {
      moved.channel = (channel + moved.position / length) % channels;
      moved.position %= length;
    }
    return moved;
  }
};

// The same, written out, an element each; after the last comes the first.
template <class T>
struct Repeated {
  static constexpr bool in_runs = true;
  const T* slopes;
  std::size_t period;
  std::size_t position = 0;

  Each<T> run() const { return {slopes + position}; }
  std::size_t run_length() const { return period - position; }
  Repeated operator+(std::size_t n) const { return {slopes, period, (position + n) % period}; }
};

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
