// Stores that go past the caches, and the sizes from which these stores and several threads are worth while.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "isa.hpp"

#if LEAKYRELU_SSE2
#include <immintrin.h>
#endif

namespace leakyrelu {

// In bytes, counting those that are read and those that are written. module.cpp says how many, and why.
struct MemoryLimits {
  std::atomic<std::size_t> threading;  // several threads work from this size on
  std::atomic<std::size_t> streaming;  // the result is streamed above this size
};
extern MemoryLimits memory_limits;

namespace LEAKYRELU_ISA {

#if LEAKYRELU_SSE2

inline constexpr bool can_stream = true;

#if defined(__AVX512F__)
using StreamVector = __m512i;
inline void stream_vector(StreamVector* to, const StreamVector* from) { _mm512_stream_si512(to, _mm512_loadu_si512(from)); }
#elif defined(__AVX__)
using StreamVector = __m256i;
inline void stream_vector(StreamVector* to, const StreamVector* from) { _mm256_stream_si256(to, _mm256_loadu_si256(from)); }
#else
using StreamVector = __m128i;
inline void stream_vector(StreamVector* to, const StreamVector* from) { _mm_stream_si128(to, _mm_loadu_si128(from)); }
#endif

// Copies to memory that begins at a cache line. The last bytes, which fill no whole line, are copied by ordinary stores.
inline void stream(void* to, const void* from, std::size_t bytes) {
  auto* target = static_cast<StreamVector*>(to);
  auto* source = static_cast<const StreamVector*>(from);
  const std::size_t vectors = bytes / 64 * (64 / sizeof(StreamVector));
  for (std::size_t i = 0; i < vectors; ++i) {
    stream_vector(target + i, source + i);
  }
  std::memcpy(target + vectors, source + vectors, bytes % 64);
}

// Streamed stores reach memory in any order. No other thread may see a later store before them.
inline void finish_streaming() { _mm_sfence(); }

#else

inline constexpr bool can_stream = false;
inline void stream(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }
inline void finish_streaming() {}

#endif

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
