// A thread that helps the pool: where it may run, and whether it gets to run. Only Linux lets a program see and say this.

#pragma once

#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#include <time.h>
#endif

namespace leakyrelu {

// A set of processors. It is always empty where the system is not Linux.
class Processors {
 public:
#if defined(__linux__)
  Processors() { CPU_ZERO(&set_); }

  // The one that the calling thread runs on, and all others that it may run on. Both are empty if the system does not tell.
  static std::pair<Processors, Processors> own_and_others() {
    Processors own, others;
    const int processor = sched_getcpu();
    if (processor >= 0 && processor < CPU_SETSIZE && pthread_getaffinity_np(pthread_self(), sizeof others.set_, &others.set_) == 0) {
      CPU_SET(processor, &own.set_);
      CPU_CLR(processor, &others.set_);
    }
    return {own, others};
  }

  bool empty() const { return CPU_COUNT(&set_) == 0; }
  bool operator==(const Processors& other) const { return CPU_EQUAL(&set_, &other.set_); }
  void hold(pthread_t thread) const { pthread_setaffinity_np(thread, sizeof set_, &set_); }

 private:
  cpu_set_t set_;
#else
  static std::pair<Processors, Processors> own_and_others() { return {}; }
  bool empty() const { return true; }
  bool operator==(const Processors&) const { return true; }
  void hold(std::thread::native_handle_type) const {}
#endif
};

struct Helper {
  std::atomic<bool> works{false};  // as long as it works, and for a moment before and after

  // The other members belong to whoever works with the pool.
  std::thread::native_handle_type thread{};
  std::chrono::nanoseconds ran{-1};  // for how long it had run when is_held_up was called last
  bool is_guest = false;             // whether it runs on the caller's processor

  // Whether it works, and yet has not run since the last call.
  bool is_held_up() {
#if defined(__linux__)
    clockid_t clock;
    timespec time;
    if (works.load() && pthread_getcpuclockid(thread, &clock) == 0 && clock_gettime(clock, &time) == 0) {
      const auto now = std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
      return std::exchange(ran, now) == now;
    }
#endif
    return false;
  }
};

}  // namespace leakyrelu
