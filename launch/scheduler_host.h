// The outside of scheduler/scheduler.h: the process's stop signal, the groups that it started, and
// what others see of the study.
#pragma once

#include <functional>
#include <memory>

#include "launch/group_processes.h"
#include "launch/study_board.h"
#include "net/actor.h"
#include "scheduler/scheduler.h"

namespace mixrec::launch {

struct SchedulerHostOptions {
  net::Time drain = 25 * net::kSecond;  // a stopping scheduler waits so long for trials
  GroupProcesses* groups = nullptr;     // null: they are others'
  StudyBoard* board = nullptr;          // gets the study as it is; may be null
  std::function<void()> on_result;      // a trial has ended
  // Asked now and then; its error ends the service. May be null.
  std::function<absl::Status()> watch = nullptr;
};

class SchedulerHost : public net::Actor {
 public:
  // All outlive it.
  SchedulerHost(SchedulerHostOptions options, scheduler::Scheduler* scheduler);

  void Start(net::Outbox* out) override;
  void Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) override;
  void Tick(net::Outbox* out) override;

  // How it ended: the groups' failure, or the scheduler's result.
  const absl::Status& result() const { return failed_.ok() ? scheduler_->result() : failed_; }

 private:
  void LookAround(net::Outbox* out);
  void Show(net::Time now);

  const SchedulerHostOptions options_;
  scheduler::Scheduler* const scheduler_;
  absl::Status failed_;
  bool stopping_ = false;
  int results_ = -1;
  int64_t shown_records_ = -1;
  net::Time shown_at_ = 0;
};

}  // namespace mixrec::launch
