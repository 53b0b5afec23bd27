// Stores that go past the caches, and from which size on they and several threads are worth their while.

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

// In bytes, read and written; see module.cpp for how many, and why.
struct MemoryLimits {
  std::atomic<std::size_t> threading;  // from which on several threads work
  std::atomic<std::size_t> streaming;  // beyond which the result is streamed
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

// Copies to memory that is aligned like a cache line; the last bytes, short of a line, with ordinary stores.
inline void stream(void* to, const void* from, std::size_t bytes) {
  auto* target = static_cast<StreamVector*>(to);
  auto* source = static_cast<const StreamVector*>(from);
  const std::size_t vectors = bytes / 64 * (64 / sizeof(StreamVector));
  for (std::size_t i = 0; i < vectors; ++i) {
    stream_vector(target + i, source + i);
  }
  std::memcpy(target + vectors, source + vectors, bytes % 64);
}

// Streamed stores come in any order; another thread is not to see what follows before them.
inline void finish_streaming() { _mm_sfence(); }

#else

inline constexpr bool can_stream = false;
inline void stream(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }
inline void finish_streaming() {}

#endif

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
