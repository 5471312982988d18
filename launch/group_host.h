// The outside of scheduler/group.h: where the scheduler is now, and the process's stop signal.
#pragma once

#include <functional>
#include <string>

#include "net/actor.h"
#include "scheduler/group.h"

namespace mixrec::launch {

class GroupHost : public net::Actor {
 public:
  // The scheduler's endpoint as far as it is known now; empty: not at all. Asked again whenever the
  // scheduler has been silent for some seconds.
  using Find = std::function<std::string()>;
  // Whether the study is known to be over, asked at the same moments: whoever came too late to be
  // told by the scheduler ends then. Null: nobody knows.
  using IsOver = std::function<bool()>;
  struct Way {
    Find find;
    IsOver is_over = nullptr;
  };

  // `options.scheduler` is not looked at.
  GroupHost(scheduler::GroupOptions options, scheduler::GroupWork* work, Way way);

  void Start(net::Outbox* out) override;
  void Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) override;
  void Tick(net::Outbox* out) override;

  // Calls the group in the loop's thread.
  using Call = std::function<void(scheduler::Group*, net::Outbox*)>;
  void With(const Call& call, net::Outbox* out);

  const absl::Status& result() const { return group_.result(); }

 private:
  void Look(net::Time now);

  const Way way_;
  scheduler::Group group_;
  std::string scheduler_;  // endpoint
  net::Time heard_ = 0, looked_ = 0;
};

}  // namespace mixrec::launch
