// What the tests of the kernels share: limits of memory that are never reached, and the report of what is wrong.

#pragma once

#include <cstddef>
#include <cstdio>
#include <limits>

#include "memory.hpp"

constexpr std::size_t never = std::numeric_limits<std::size_t>::max();
leakyrelu::MemoryLimits leakyrelu::memory_limits = {{never}, {never}};

namespace {

int failures = 0;

template <class... T>
void fail(const char* format, T... what) {
  if (++failures <= 20) {
    std::fprintf(stderr, format, what...);
  }
}

}  // namespace
