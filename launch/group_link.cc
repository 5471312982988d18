#include "launch/group_link.h"

#include <utility>

namespace mixrec::launch {

using scheduler::Group;
using scheduler::TrialAttempt;

absl::StatusOr<std::unique_ptr<GroupLink>> GroupLink::Start(scheduler::GroupOptions options,
                                                            GroupHost::Way way,
                                                            net::ZmqOptions transport) {
  std::unique_ptr<GroupLink> link(new GroupLink);
  MIXREC_ASSIGN_OR_RETURN(link->loop_, net::ZmqLoop::Create(std::move(transport)));
  options.on_study = [raw = link.get()](const std::string& study) {
    const std::lock_guard<std::mutex> lock(raw->mutex_);
    raw->study_ = study;
    raw->news_.notify_all();
  };
  link->host_ = std::make_unique<GroupHost>(
      std::move(options), static_cast<scheduler::GroupWork*>(link.get()), std::move(way));
  link->thread_ = std::thread([raw = link.get()] {
    raw->loop_->Run(raw->host_.get());
    raw->Close();
  });
  return link;
}

GroupLink::~GroupLink() {
  if (loop_ != nullptr) loop_->Stop();
  if (thread_.joinable()) thread_.join();
}

std::optional<std::string> GroupLink::StudyWithin(std::chrono::milliseconds patience) {
  std::unique_lock<std::mutex> lock(mutex_);
  news_.wait_for(lock, patience, [&] { return ended_ || study_; });
  return ended_ ? std::nullopt : study_;
}

void GroupLink::SetReady(const std::string& settings, const std::string& device) {
  Post([=](Group* group, net::Outbox* out) { group->SetReady(settings, device, out); });
}

std::optional<GroupJob> GroupLink::NextJob() {
  std::unique_lock<std::mutex> lock(mutex_);
  news_.wait(lock, [&] { return ended_ || !jobs_.empty(); });
  return TakeJob();
}

std::optional<GroupJob> GroupLink::NextJobWithin(std::chrono::milliseconds patience) {
  std::unique_lock<std::mutex> lock(mutex_);
  news_.wait_for(lock, patience, [&] { return ended_ || !jobs_.empty(); });
  return TakeJob();
}

bool GroupLink::HasEnded() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return ended_;
}

std::optional<GroupJob> GroupLink::TakeJob() {
  if (jobs_.empty()) return std::nullopt;
  GroupJob job = std::move(jobs_.front());
  jobs_.pop_front();
  return job;
}

void GroupLink::Scored(const TrialAttempt& id, int epoch, double value) {
  Post([=](Group* group, net::Outbox* out) { group->Scored(id, {epoch, value}, out); });
}

void GroupLink::Ended(const TrialAttempt& id, scheduler::Outcome outcome) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stops_.erase(id);
  }
  Post([=](Group* group, net::Outbox* out) { group->Ended(id, outcome, out); });
}

void GroupLink::Leave(const std::string& why) {
  Post([=](Group* group, net::Outbox* out) { group->Leave(why, out); });
}

absl::Status GroupLink::Join() {
  if (thread_.joinable()) thread_.join();
  return host_->result();
}

void GroupLink::Begin(const TrialAttempt& id, const std::string& work) {
  const std::lock_guard<std::mutex> lock(mutex_);
  GroupJob job{id, work, std::make_shared<std::atomic<bool>>(false)};
  stops_[id] = job.stop;
  jobs_.push_back(std::move(job));
  news_.notify_all();
}

void GroupLink::End(const TrialAttempt& id, scheduler::EndReason) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = stops_.find(id);
  if (found != stops_.end()) *found->second = true;
}

void GroupLink::Post(GroupHost::Call call) {
  loop_->Post([this, call = std::move(call)](net::Outbox* out) { host_->With(call, out); });
}

// Nobody waits for anything any more.
void GroupLink::Close() {
  const std::lock_guard<std::mutex> lock(mutex_);
  ended_ = true;
  jobs_.clear();
  for (const auto& [id, stop] : stops_) *stop = true;
  news_.notify_all();
}

}  // namespace mixrec::launch
