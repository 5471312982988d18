#include "launch/group_service.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>
#include <vector>

#include "common/log.h"
#include "common/stop_signal.h"

namespace mixrec::launch {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kLook = std::chrono::milliseconds(20);  // of a sleeper for a stop request

absl::StatusOr<worker::TrialOutcome> RunJob(const TrialFunction& run, const std::string& group,
                                            const GroupJob& job, GroupLink* link) {
  MIXREC_ASSIGN_OR_RETURN(const bo_driver::TrialWork work, bo_driver::ParseTrialWork(job.work));
  const TrialAttempt attempt{job.id.trial, job.id.attempt, work, StrCat("group ", group, ", "),
                             [stop = job.stop] { return stop->load(); }};
  return run(attempt, [&](int epoch, double value) {
    if (link != nullptr && std::isfinite(value)) link->Scored(job.id, epoch, value);
    return true;
  });
}

// The jobs of one slot.
void ServeSlot(const TrialFunction& run, const std::string& group, int threads,
               const RecentLog& log, GroupLink* link) {
  at::set_num_threads(threads);  // of this thread
  while (const auto job = link->NextJob()) {
    link->Ended(job->id, RunTrial(run, group, *job, log, link).outcome);
  }
}

}  // namespace

TrialEnd RunTrial(const TrialFunction& run, const std::string& group, const GroupJob& job,
                  const RecentLog& log, GroupLink* link) {
  const Clock::time_point start = Clock::now();
  const auto result = RunJob(run, group, job, link);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  if (!result.ok()) {
    LOG(WARNING) << "group " << group << ", trial " << job.id.trial << ": "
                 << result.status().message();
  }
  return {result.status(), OutcomeOf(result, seconds, log.Text())};
}

void ServeTrials(const TrialFunction& run, const std::string& group, int slots,
                 const RecentLog& log, GroupLink* link) {
  const int threads = std::max(1, at::get_num_threads() / slots);
  std::vector<std::thread> others;
  for (int slot = 1; slot < slots; ++slot) {
    others.emplace_back([&] { ServeSlot(run, group, threads, log, link); });
  }
  ServeSlot(run, group, threads, log, link);
  for (std::thread& other : others) other.join();
}

TrialFunction SleepingTrial(double seconds) {
  return [seconds](const TrialAttempt& attempt,
                   const worker::SearchObjective::IntermediateCallback& on_epoch)
             -> absl::StatusOr<worker::TrialOutcome> {
    const auto until = Clock::now() + std::chrono::duration<double>(seconds);
    while (Clock::now() < until) {
      if (StopRequested() || attempt.stop()) return StoppedError("woken before its time");
      std::this_thread::sleep_for(std::min<Clock::duration>(
          kLook, std::chrono::duration_cast<Clock::duration>(until - Clock::now())));
    }
    const std::string& bits = attempt.work.architecture;
    worker::TrialOutcome outcome;
    outcome.value = static_cast<double>(std::count(bits.begin(), bits.end(), '1')) /
                    static_cast<double>(bits.size());
    outcome.epochs = 1;
    outcome.seconds = seconds;
    on_epoch(1, outcome.value);
    return outcome;
  };
}

}  // namespace mixrec::launch
