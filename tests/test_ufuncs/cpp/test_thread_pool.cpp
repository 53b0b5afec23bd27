// Tests the thread pool by itself. tests/test_ufuncs/test_cpp.py compiles and runs it, under ThreadSanitizer as well.

#include "isa.hpp"
#include "thread_pool.hpp"

#include <atomic>
#include <cfenv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__MINGW32__) && LEAKYRELU_SSE2
#include <immintrin.h>
#endif

using leakyrelu::run_blocks;
using leakyrelu::set_num_threads;

namespace {

void check(bool fact, const char* what) {
  if (!fact) {
    std::fprintf(stderr, "false: %s\n", what);
    std::exit(1);
  }
}

void each_block_is_done_once() {
  for (int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    for (std::size_t blocks : {0, 1, 2, 3, 17, 1000}) {
      std::vector<int> done(blocks);  // not atomic, because no block is done by two threads
      for (int round = 0; round < 50; ++round) {
        run_blocks(blocks, [&](std::size_t block) { ++done[block]; });
      }
      for (int count : done) {
        check(count == 50, "each block is done once");
      }
    }
  }
}

// The calls go on until a helper has done a block, so this ends only if helpers work.
void helpers_work_in_the_environment_of_the_caller() {
  set_num_threads(4);
  const std::thread::id caller = std::this_thread::get_id();
  std::fesetround(FE_UPWARD);
  std::feclearexcept(FE_ALL_EXCEPT);
  std::atomic<bool> helped{false};
  std::atomic<bool> wrong{false};
  while (!helped) {
    run_blocks(100, [&](std::size_t) {
      if (std::fegetround() != FE_UPWARD) {
        wrong = true;
      }
      if (std::this_thread::get_id() != caller) {
        std::feraiseexcept(FE_OVERFLOW);
        helped = true;
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    });
  }
  std::fesetround(FE_TONEAREST);
  check(!wrong, "a helper rounds as the caller does");
  check(std::fetestexcept(FE_OVERFLOW) != 0, "a helper's overflow reaches the caller");
#if defined(__MINGW32__) && LEAKYRELU_SSE2
  check((_mm_getcsr() & _MM_EXCEPT_OVERFLOW) != 0, "it is among the flags of SSE, which are those that NumPy reads");
#endif
  std::feclearexcept(FE_ALL_EXCEPT);
  run_blocks(100, [](std::size_t) {});
  check(std::fetestexcept(FE_ALL_EXCEPT) == 0, "the next call starts without flags");
}

#if defined(__MINGW32__) && LEAKYRELU_SSE2
// MinGW's feraiseexcept sets the flags of x87 alone, and NumPy may neither read nor clear these.
void an_old_flag_of_x87_in_the_caller_is_not_taken_for_one_of_a_helper() {
  set_num_threads(4);
  const std::thread::id caller = std::this_thread::get_id();
  std::feraiseexcept(FE_OVERFLOW);
  _mm_setcsr(_mm_getcsr() & ~static_cast<unsigned>(_MM_EXCEPT_MASK));
  std::atomic<bool> helped{false};
  while (!helped) {
    run_blocks(100, [&](std::size_t) {
      if (std::this_thread::get_id() != caller) {
        helped = true;
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    });
  }
  check((_mm_getcsr() & _MM_EXCEPT_OVERFLOW) == 0, "an old flag of the caller is not raised again");
  std::feclearexcept(FE_ALL_EXCEPT);
}
#endif

void no_more_threads_than_asked_for() {
  set_num_threads(8);
  run_blocks(100, [](std::size_t) { std::this_thread::sleep_for(std::chrono::microseconds(100)); });
  set_num_threads(2);
  for (int round = 0; round < 50; ++round) {
    std::mutex mutex;
    std::set<std::thread::id> workers;
    run_blocks(50, [&](std::size_t) {
      const std::lock_guard<std::mutex> lock(mutex);
      workers.insert(std::this_thread::get_id());
    });
    check(workers.size() <= 2, "no more threads than asked for");
  }
}

void many_callers_at_a_time() {
  std::atomic<bool> done{false};
  std::thread changing([&] {
    for (int count = 1; !done; count = count % 7 + 1) {
      set_num_threads(count);
    }
  });
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([] {
      std::vector<std::size_t> squares(64);
      for (std::size_t round = 0; round < 500; ++round) {
        run_blocks(squares.size(), [&](std::size_t block) { squares[block] = round + block * block; });
        for (std::size_t block = 0; block < squares.size(); ++block) {
          check(squares[block] == round + block * block, "what helpers wrote, the caller reads");
        }
      }
    });
  }
  for (std::thread& caller : callers) {
    caller.join();
  }
  done = true;
  changing.join();
}

// A call within a block works alone.
void a_call_within_a_call() {
  set_num_threads(3);
  std::atomic<int> count{0};
  run_blocks(20, [&](std::size_t) { run_blocks(20, [&](std::size_t) { ++count; }); });
  check(count == 400, "a call within a call does its blocks");
}

#if defined(__linux__)

// The processors that the calling thread may run on.
cpu_set_t allowed() {
  cpu_set_t processors;
  check(sched_getaffinity(0, sizeof processors, &processors) == 0, "the system tells where a thread may run");
  return processors;
}

// Calls until the helper has taken a block, in which it does this.
template <class Task>
void by_the_helper(Task task) {
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> done{false};
  while (!done) {
    run_blocks(100, [&](std::size_t) {
      if (std::this_thread::get_id() != caller && !done.exchange(true)) {
        task();
      }
    });
  }
}

// A helper that sleeps does not run, just as one that has lost its processor. The caller may be moved to another processor
// meanwhile, and on a busy machine the helper may really lose its processor in the second call and be lent the caller's
// once more. So there are several attempts.
void a_helper_that_is_held_up_is_a_guest_on_the_processor_of_the_caller() {
  const cpu_set_t all = allowed();
  if (CPU_COUNT(&all) < 2) {
    return;
  }
  set_num_threads(2);
  bool was_guest = false;
  for (int attempt = 0; attempt < 50; ++attempt) {
    const int processor = sched_getcpu();
    cpu_set_t during, after;
    by_the_helper([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      during = allowed();
    });
    by_the_helper([&] { after = allowed(); });
    if (CPU_COUNT(&during) == 1 && CPU_ISSET(processor, &during) && sched_getcpu() == processor) {
      was_guest = true;
      if (!CPU_ISSET(processor, &after)) {
        return;
      }
    }
  }
  check(was_guest, "a caller that waits lends its processor");
  check(false, "a helper is a guest only while the caller waits");
}

#endif

void a_forked_child_has_helpers_of_its_own() {
#if !defined(_WIN32)
  set_num_threads(4);
  for (int round = 0; round < 20; ++round) {
    run_blocks(100, [](std::size_t) {});
    const pid_t child = fork();
    if (child == 0) {
      std::atomic<int> count{0};
      run_blocks(100, [&](std::size_t) { ++count; });
      _exit(count == 100 ? 0 : 1);
    }
    int status = 1;
    check(waitpid(child, &status, 0) == child && status == 0, "the child of a fork does its blocks");
  }
#endif
}

}  // namespace

int main(int count, char**) {
  check(leakyrelu::num_threads() == 1, "at first there is one thread");
  each_block_is_done_once();
  helpers_work_in_the_environment_of_the_caller();
#if defined(__MINGW32__) && LEAKYRELU_SSE2
  an_old_flag_of_x87_in_the_caller_is_not_taken_for_one_of_a_helper();
#endif
  no_more_threads_than_asked_for();
  many_callers_at_a_time();
  a_call_within_a_call();
#if defined(__linux__)
  a_helper_that_is_held_up_is_a_guest_on_the_processor_of_the_caller();
#endif
  if (count == 1) {  // neither ThreadSanitizer nor QEMU starts threads in the child of a fork
    a_forked_child_has_helpers_of_its_own();
  }
  std::puts("ok");
}
