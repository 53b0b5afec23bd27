// The thread pool; see thread_pool.hpp.

#include "thread_pool.hpp"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "helper.hpp"
#include "isa.hpp"

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif
#if LEAKYRELU_SSE2
#include <immintrin.h>
#elif defined(_M_ARM64) && !defined(__aarch64__)  // MSVC
#include <intrin.h>
#endif

namespace leakyrelu {
namespace {

using Clock = std::chrono::steady_clock;

// Longer than the pause between two calls in a Python loop, and far shorter than a time slice.
constexpr std::chrono::microseconds spinning_time{5};

// A helper can lose its processor in the middle of a block: to another process that never rests, or to a thread of OpenMP,
// which spins for some milliseconds after its work. It gets the processor back after a time slice of several milliseconds.
// On Linux the caller does not wait for that. It sees that the helper does not run, and lends it its own processor, which
// takes about 50 microseconds. So it looks again and again while it waits.
constexpr std::chrono::microseconds between_looks{50};

// Elsewhere the caller has to wait, and after a wait that is this long the pool rests. So about a tenth of the time is spent
// on waiting at most. A block takes some microseconds, or some hundreds where fresh memory has to be mapped.
constexpr std::chrono::milliseconds long_wait{1};
constexpr int rest_per_wait = 10;

// Waking a helper takes about as long as this many blocks. Work of fewer blocks is done by helpers that are still awake,
// as they are when such work comes in a loop. It wakes a sleeping helper only once in a while.
constexpr std::size_t blocks_worth_waking = 32;
constexpr std::chrono::milliseconds between_wakings{1};

std::atomic<int> thread_count{1};

inline void pause_briefly() {
#if LEAKYRELU_SSE2
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#elif defined(_M_ARM64)
  __yield();
#endif
}

// Raises floating-point flags in the calling thread. MinGW's feraiseexcept sets those of x87 alone, but a NumPy that is
// compiled by MSVC reads those of SSE. (Both have the flags at the same bits.)
inline void raise_flags(int flags) {
#if defined(__MINGW32__) && LEAKYRELU_SSE2
  _mm_setcsr(_mm_getcsr() | static_cast<unsigned>(flags));
#else
  std::feraiseexcept(flags);
#endif
}

// Returns whether the condition came true within the spinning time.
template <class Condition>
bool spin_until(Condition condition) {
  const Clock::time_point end = Clock::now() + spinning_time;
  do {
    for (int i = 0; i < 16; ++i) {
      if (condition()) {
        return true;
      }
      pause_briefly();
    }
  } while (Clock::now() < end);
  return false;
}

class Pool {
 public:
  void run(std::size_t blocks, void (*task)(void*, std::size_t), void* context);

 private:
  // The lower 16 bits of the gate count the helpers inside the current job, and the upper 16 bits count the seats that are
  // left. A helper enters only by taking a seat. So once the caller has removed the seats, the number inside can only fall.
  static constexpr std::uint32_t inside_mask = 0xffff;
  static constexpr std::uint32_t seat = inside_mask + 1;

  void take_blocks(bool caller);
  void wait_for_helpers();
  void lend_processor();
  void run_with_helpers(int wanted, std::size_t blocks, void (*task)(void*, std::size_t), void* context);
  void start_helpers(int wanted);
  void keep_helpers_apart();
  void open_gate(int seats);
  void close_gate();
  bool enter();
  void leave();
  void help(Helper& self);

  bool has_seats() const { return gate_.load() >= seat; }
  bool is_empty() const { return gate_.load() == 0; }

  std::atomic<bool> busy_{false};
  std::atomic<std::uint32_t> gate_{0};
  std::atomic<std::uint64_t> taken_{0};  // blocks taken: by the caller in the lower 32 bits, by helpers above
  std::atomic<int> flags_{0};  // floating-point flags raised by helpers
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;  // held only to fall asleep and to wake
  std::condition_variable seats_;
  std::condition_variable empty_;

  // Only the caller uses these, and there is one caller at a time.
  std::vector<std::unique_ptr<Helper>> helpers_;
  bool no_more_helpers_ = false;
  Processors processors_;  // those that the helpers may use
  Clock::time_point next_waking_;
  Clock::time_point rests_until_;

  std::size_t blocks_ = 0;
  void (*task_)(void*, std::size_t) = nullptr;
  void* context_ = nullptr;
  std::fenv_t environment_;
};

void Pool::run(std::size_t blocks, void (*task)(void*, std::size_t), void* context) {
  const auto threads = static_cast<std::size_t>(thread_count.load());
  const int wanted = static_cast<int>(std::min(threads, blocks)) - 1;
  const bool mine = wanted > 0 && !busy_.exchange(true, std::memory_order_acquire);
  if (mine && Clock::now() >= rests_until_) {
    run_with_helpers(wanted, blocks, task, context);
  } else {
    for (std::size_t block = 0; block < blocks; ++block) {
      task(context, block);
    }
  }
  if (mine) {
    busy_.store(false, std::memory_order_release);
  }
}

void Pool::run_with_helpers(int wanted, std::size_t blocks, void (*task)(void*, std::size_t), void* context) {
  start_helpers(wanted);
  blocks_ = blocks;
  task_ = task;
  context_ = context;
  std::fegetenv(&environment_);
  flags_.store(0, std::memory_order_relaxed);
  taken_.store(0, std::memory_order_relaxed);
  open_gate(std::min(wanted, static_cast<int>(helpers_.size())));
  take_blocks(true);
  close_gate();
  const int flags = flags_.load(std::memory_order_relaxed);
  if (flags != 0) {
    raise_flags(flags);
  }
}

// The caller takes blocks from the front, and helpers take them from the back. So in a loop over the same memory, each
// finds most of its half in its own cache.
void Pool::take_blocks(bool caller) {
  constexpr std::uint64_t by_helper = std::uint64_t{1} << 32;
  for (;;) {
    const std::uint64_t taken = taken_.fetch_add(caller ? 1 : by_helper, std::memory_order_relaxed);
    const std::uint64_t front = taken % by_helper;
    const std::uint64_t back = taken / by_helper;
    if (front + back >= blocks_) {
      return;
    }
    task_(context_, static_cast<std::size_t>(caller ? front : blocks_ - 1 - back));
  }
}

// Helpers are detached, so that the process can end while they sleep. They block signals, which are for the program's own
// threads.
void Pool::start_helpers(int wanted) {
  const int missing = wanted - static_cast<int>(helpers_.size());
  if (missing <= 0 || no_more_helpers_) {
    return;
  }
#if !defined(_WIN32)
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  for (const int fault : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP}) {
    sigdelset(&all, fault);  // a fault of the helper itself
  }
  pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
  for (int i = 0; i < missing; ++i) {
    try {
      helpers_.reserve(helpers_.size() + 1);
      auto helper = std::make_unique<Helper>();
      std::thread thread([this, self = helper.get()] { help(*self); });
      helper->thread = thread.native_handle();
      helpers_.push_back(std::move(helper));
      thread.detach();
    } catch (const std::exception&) {
      no_more_helpers_ = true;  // the system allows no more; those that exist do the work
      break;
    }
  }
#if !defined(_WIN32)
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
  processors_ = {};
  keep_helpers_apart();
}

// Linux tends to wake a thread on the processor of the thread that wakes it. There the two take turns, while another
// processor is idle. So when the caller has moved to another processor, the helpers are kept off that one.
void Pool::keep_helpers_apart() {
  const Processors others = Processors::own_and_others().second;
  if (!others.empty() && !(others == processors_)) {
    processors_ = others;
    for (const auto& helper : helpers_) {
      others.hold(helper->thread);
    }
  }
}

// A helper that falls asleep first counts itself as a sleeper, and then looks for seats. The caller first sets the seats,
// and then looks for sleepers. So at least one of the two sees the other.
void Pool::open_gate(int seats) {
  gate_.store(static_cast<std::uint32_t>(seats) * seat);
  const int asleep = sleepers_.load();
  if (asleep == 0) {
    return;
  }
  const Clock::time_point now = Clock::now();
  if (blocks_ < blocks_worth_waking && now < next_waking_) {
    return;
  }
  next_waking_ = now + between_wakings;
  keep_helpers_apart();
  { const std::lock_guard<std::mutex> lock(mutex_); }
  for (int i = 0; i < std::min(asleep, seats); ++i) {
    seats_.notify_one();
  }
}

void Pool::close_gate() {
  gate_.fetch_and(inside_mask);
  if (!spin_until([this] { return is_empty(); })) {
    wait_for_helpers();
  }
}

void Pool::wait_for_helpers() {
  const Clock::time_point start = Clock::now();
  lend_processor();  // lends nothing yet, as only a second look tells who has not run since the first one
  if (spin_until([this] { return is_empty(); })) {
    return;
  }
  std::unique_lock<std::mutex> lock(mutex_);
  do {
    lend_processor();
  } while (!empty_.wait_for(lock, between_looks, [this] { return is_empty(); }));
  lock.unlock();
  for (const auto& helper : helpers_) {
    if (std::exchange(helper->is_guest, false)) {
      processors_.hold(helper->thread);
    }
  }
  const Clock::time_point end = Clock::now();
  if (end - start >= long_wait) {
    rests_until_ = end + rest_per_wait * (end - start);
  }
}

// Moves helpers that are held up to the caller's processor.
void Pool::lend_processor() {
  for (const auto& helper : helpers_) {
    if (helper->is_held_up() && !processors_.empty()) {
      Processors::own_and_others().first.hold(helper->thread);
      helper->is_guest = true;
    }
  }
}

bool Pool::enter() {
  std::uint32_t gate = gate_.load();
  while (gate >= seat) {
    if (gate_.compare_exchange_weak(gate, gate - seat + 1)) {
      return true;
    }
  }
  return false;
}

void Pool::leave() {
  if (gate_.fetch_sub(1) == 1) {
    { const std::lock_guard<std::mutex> lock(mutex_); }
    empty_.notify_one();
  }
}

void Pool::help(Helper& self) {
  for (;;) {
    if (!spin_until([this] { return has_seats(); })) {
      std::unique_lock<std::mutex> lock(mutex_);
      ++sleepers_;
      seats_.wait(lock, [this] { return has_seats(); });
      --sleepers_;
    }
    self.works.store(true);
    if (enter()) {
      std::fesetenv(&environment_);
#if defined(__MINGW32__)
      // The caller may have old flags of x87, which a NumPy that is compiled by MSVC does not clear.
      std::feclearexcept(FE_ALL_EXCEPT);
#endif
      take_blocks(false);
      flags_.fetch_or(std::fetestexcept(FE_ALL_EXCEPT), std::memory_order_relaxed);
      leave();
    }
    self.works.store(false);
  }
}

// The pool is never destroyed, because a helper may be asleep in it when the process ends.
alignas(Pool) unsigned char storage[sizeof(Pool)];

Pool* const pool = [] {
#if !defined(_WIN32)
  // The child of a fork has none of the helpers, and its copy of the pool may be in any state. So it makes a new one.
  pthread_atfork(nullptr, nullptr, [] { new (storage) Pool; });
#endif
  return new (storage) Pool;
}();

}  // namespace

void run_blocks(std::size_t blocks, void (*task)(void*, std::size_t), void* context) { pool->run(blocks, task, context); }

int num_threads() { return thread_count.load(); }

void set_num_threads(int count) { thread_count.store(count); }

}  // namespace leakyrelu
