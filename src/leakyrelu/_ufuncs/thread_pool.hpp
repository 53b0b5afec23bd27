// Several threads over one stretch of memory. Knows neither Python nor NumPy.
//
// The work is cut into blocks, and a block belongs to whoever takes it: the calling thread takes blocks like any other, and
// at the end waits only for helpers that are in the middle of one. A helper that does not wake in time is not missed.

#pragma once

#include <cstddef>

namespace leakyrelu {

// Calls task(context, block) once for each block in [0, blocks), and returns when all have been done.
//
// The helpers work in the floating-point environment of the caller, to which the flags they raise come back. While the
// pool works for one thread, any other works alone. Safe after fork(): the child starts helpers of its own.
void run_blocks(std::size_t blocks, void (*task)(void* context, std::size_t block), void* context);

template <class Task>
inline void run_blocks(std::size_t blocks, Task task) {
  run_blocks(blocks, [](void* context, std::size_t block) { (*static_cast<Task*>(context))(block); }, &task);
}

// How many threads work at a time, the caller being one of them; at least 1, which is what it is at first.
int num_threads();
void set_num_threads(int count);

}  // namespace leakyrelu
