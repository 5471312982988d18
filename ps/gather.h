// Private to ps/: many answers that make one result.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "common/status.h"

namespace mixrec::ps {

// Counts answers down; calls `done` once: after the last, or with the first failure, which does not
// wait for the deadlines of the others. Held by shared_ptr by every answer's callback.
class Gather {
 public:
  Gather(size_t expected, std::function<void(absl::Status)> done)
      : left_(expected), done_(std::move(done)) {}

  void Add(const absl::Status& status) {
    --left_;
    if (done_ == nullptr || (status.ok() && left_ > 0)) return;
    const auto done = std::exchange(done_, nullptr);
    done(status);
  }

 private:
  size_t left_;
  std::function<void(absl::Status)> done_;
};

}  // namespace mixrec::ps
