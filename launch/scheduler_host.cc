#include "launch/scheduler_host.h"

#include <algorithm>
#include <utility>

#include "common/stop_signal.h"

namespace mixrec::launch {
namespace {

constexpr net::Time kPoll = 200 * net::kMillisecond;

int Results(const scheduler::StudyRecord& study) {
  return static_cast<int>(std::count_if(study.trials.begin(), study.trials.end(),
                                        [](const auto& trial) { return trial.finished(); }));
}

}  // namespace

SchedulerHost::SchedulerHost(SchedulerHostOptions options, scheduler::Scheduler* scheduler)
    : options_(std::move(options)), scheduler_(scheduler) {}

void SchedulerHost::Start(net::Outbox* out) {
  scheduler_->Start(out);
  LookAround(out);
}

void SchedulerHost::Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) {
  scheduler_->Receive(from, message, out);
  LookAround(out);
}

void SchedulerHost::Tick(net::Outbox* out) {
  scheduler_->Tick(out);
  LookAround(out);
}

void SchedulerHost::LookAround(net::Outbox* out) {
  const net::Time now = out->now();
  if (StopRequested() && !stopping_) {
    stopping_ = true;
    if (options_.groups != nullptr) options_.groups->AskToStop();
    scheduler_->Drain(now + options_.drain, out);
  }
  if (options_.groups != nullptr && failed_.ok()) {
    failed_ = options_.groups->Maintain(now);
    if (!failed_.ok()) out->Stop();
  }
  if (options_.watch && failed_.ok()) {
    failed_ = options_.watch();
    if (!failed_.ok()) out->Stop();
  }
  Show(now);
  out->WakeAt(now + kPoll);
}

void SchedulerHost::Show(net::Time now) {
  const scheduler::StudyRecord& study = scheduler_->study();
  // Once a second at most: a view copies the study.
  if (options_.board != nullptr && now - shown_at_ >= net::kSecond) {
    shown_at_ = now;
    options_.board->Put(scheduler_->View(now));
  }
  if (study.records == shown_records_) return;
  shown_records_ = study.records;
  const int results = Results(study);
  if (results != results_ && results_ >= 0 && options_.on_result) options_.on_result();
  results_ = results;
}

}  // namespace mixrec::launch
