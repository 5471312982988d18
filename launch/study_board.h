// The latest view of a running study, from the thread that changes it to those that show it.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "scheduler/study_view.h"

namespace mixrec::launch {

// Any thread.
class StudyBoard {
 public:
  using View = std::shared_ptr<const scheduler::StudyView>;

  void Put(scheduler::StudyView view) {
    auto latest = std::make_shared<const scheduler::StudyView>(std::move(view));
    const std::lock_guard<std::mutex> lock(mutex_);
    latest_ = std::move(latest);
  }
  // Null before the first one.
  View Get() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return latest_;
  }

 private:
  mutable std::mutex mutex_;
  View latest_;
};

}  // namespace mixrec::launch
