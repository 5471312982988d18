// Private to worker/: adds up how long calls that wait for somebody else take.
#pragma once

#include <chrono>
#include <utility>

namespace mixrec::worker {

class WaitClock {
 public:
  // wait(), timed.
  template <typename Wait>
  auto Time(const Wait& wait) -> decltype(wait()) {
    const auto start = std::chrono::steady_clock::now();
    auto result = wait();
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return result;
  }
  double seconds() const { return seconds_; }

 private:
  double seconds_ = 0;
};

}  // namespace mixrec::worker
