// Private to ps/: many answers that make one result.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "common/status.h"

namespace mixrec::ps {

// Counts answers down; calls `done` once, after the last, with the first failure. Held by
// shared_ptr by every answer's callback.
class Gather {
 public:
  Gather(size_t expected, std::function<void(absl::Status)> done)
      : left_(expected), done_(std::move(done)) {}

  void Add(const absl::Status& status) {
    if (status_.ok()) status_ = status;
    if (--left_ > 0) return;
    const auto done = std::move(done_);
    done(status_);
  }

 private:
  size_t left_;
  absl::Status status_;
  std::function<void(absl::Status)> done_;
};

}  // namespace mixrec::ps
