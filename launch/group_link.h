// A worker group's line to its scheduler: a loop in a thread of its own, and the trials that come
// as a queue for whoever trains.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "common/status.h"
#include "launch/group_host.h"
#include "net/zmq_transport.h"
#include "scheduler/group.h"

namespace mixrec::launch {

struct GroupJob {
  scheduler::TrialAttempt id;
  std::string work;                         // Strategy::Work
  std::shared_ptr<std::atomic<bool>> stop;  // becomes true when it should end
};

class GroupLink : private scheduler::GroupWork {
 public:
  // Starts to speak. `options.on_study` is the link's own.
  static absl::StatusOr<std::unique_ptr<GroupLink>> Start(scheduler::GroupOptions options,
                                                          GroupHost::Way way,
                                                          net::ZmqOptions transport);
  GroupLink(const GroupLink&) = delete;
  GroupLink& operator=(const GroupLink&) = delete;
  ~GroupLink() override;

  // Any thread, all of them:
  // What the scheduler works on; waits so long for its word. nullopt: it has said nothing yet, or
  // the line has ended.
  std::optional<std::string> StudyWithin(std::chrono::milliseconds patience);
  // Trials may come.
  void SetReady(const std::string& settings, const std::string& device);
  // The next trial to train; waits for it. nullopt: the line has ended.
  std::optional<GroupJob> NextJob();
  // Likewise, waiting so long. nullopt: there is none yet, or the line has ended.
  std::optional<GroupJob> NextJobWithin(std::chrono::milliseconds patience);
  bool HasEnded();
  void Scored(const scheduler::TrialAttempt& id, int epoch, double value);
  // Every job must come to this.
  void Ended(const scheduler::TrialAttempt& id, scheduler::Outcome outcome);
  // This group cannot work: it says so and leaves.
  void Leave(const std::string& why);
  // Waits for the end of the line; what Group::result says.
  absl::Status Join();

 private:
  GroupLink() = default;
  void Begin(const scheduler::TrialAttempt& id, const std::string& work) override;
  void End(const scheduler::TrialAttempt& id, scheduler::EndReason reason) override;
  void Post(GroupHost::Call call);
  void Close();
  std::optional<GroupJob> TakeJob();  // under mutex_

  std::unique_ptr<net::ZmqLoop> loop_;
  std::unique_ptr<GroupHost> host_;
  std::mutex mutex_;
  std::condition_variable news_;
  bool ended_ = false;  // under mutex_, as all below
  std::optional<std::string> study_;
  std::deque<GroupJob> jobs_;
  std::map<scheduler::TrialAttempt, std::shared_ptr<std::atomic<bool>>> stops_;
  std::thread thread_;
};

}  // namespace mixrec::launch
