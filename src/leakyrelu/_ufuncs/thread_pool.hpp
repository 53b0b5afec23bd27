// Several threads over one stretch of memory. Knows neither Python nor NumPy.
//
// The work is cut into blocks, and whichever thread is free takes the next block. The calling thread takes blocks too. At
// the end it waits only for helpers that are in the middle of a block, and never for a helper to wake up.

#pragma once

#include <cstddef>

namespace leakyrelu {

// Calls task(context, block) once for each block in [0, blocks), and returns when all have been done.
//
// The helpers work in the floating-point environment of the caller, and the flags that they raise are raised in the
// caller. While the pool works for one thread, every other thread works alone. After fork(), the child starts helpers of
// its own.
void run_blocks(std::size_t blocks, void (*task)(void* context, std::size_t block), void* context);

template <class Task>
inline void run_blocks(std::size_t blocks, Task task) {
  run_blocks(blocks, [](void* context, std::size_t block) { (*static_cast<Task*>(context))(block); }, &task);
}

// How many threads work at a time, including the caller. It is at least 1, and 1 until it is set.
int num_threads();
void set_num_threads(int count);

}  // namespace leakyrelu
