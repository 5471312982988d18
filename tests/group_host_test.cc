// A worker group's actor inside its process: the stop signal.
#include "launch/group_host.h"

#include <gtest/gtest.h>

#include "common/stop_signal.h"
#include "scheduler/codec.h"

namespace mixrec::launch {
namespace {

struct CountingWork : scheduler::GroupWork {
  int begun = 0, released = 0;
  void Begin(const scheduler::TrialAttempt&, const std::string&) override { ++begun; }
  void End(const scheduler::TrialAttempt&, scheduler::EndReason reason) override {
    if (reason == scheduler::EndReason::kRelease) ++released;
  }
};

// The n-th word of a scheduler, with that attempt of trial 0.
net::Message Word(int n) {
  scheduler::Assignment word;
  word.incarnation = 1;
  word.number = static_cast<uint64_t>(n);
  word.group_incarnation = 7;
  scheduler::LeasedTrial trial;
  trial.id = {0, n};
  word.trials.push_back(trial);
  return scheduler::Encode(word);
}

TEST(GroupHost, ARequestToStopIsHeardThoughWordsLeaveNoTimeForATick) {
  ClearStopRequest();
  scheduler::GroupOptions options;
  options.group.name = "g";
  options.group.incarnation = 7;
  options.group.slots = 1;
  CountingWork work;
  GroupHost host(options, &work, {[] { return std::string("tcp://scheduler"); }});
  net::Time now = net::kSecond;
  const auto turn = [&](const auto& call) {
    net::Outbox out(now += net::kMillisecond);
    call(&out);
    return out.stopped();
  };
  turn([&](net::Outbox* out) { host.Start(out); });
  turn([&](net::Outbox* out) {
    host.With(
        [](scheduler::Group* group, net::Outbox* inner) { group->SetReady("s", "cpu", inner); },
        out);
  });
  turn([&](net::Outbox* out) { host.Receive("tcp://scheduler", Word(1), out); });
  ASSERT_EQ(work.begun, 1);

  RequestStop();
  turn([&](net::Outbox* out) { host.Receive("tcp://scheduler", Word(1), out); });
  ClearStopRequest();
  EXPECT_EQ(work.released, 1);
  turn([&](net::Outbox* out) { host.Receive("tcp://scheduler", Word(2), out); });
  EXPECT_EQ(work.begun, 1);
  EXPECT_EQ(std::string(host.result().message()), "asked to stop");
}

}  // namespace
}  // namespace mixrec::launch
