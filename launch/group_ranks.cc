#include "launch/group_ranks.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "common/log.h"
#include "common/stop_signal.h"
#include "launch/flag_line.h"

namespace mixrec::launch {
namespace {

using Json = nlohmann::json;
constexpr auto kHearing = std::chrono::seconds(1);

// A request to stop that reached any rank reaches all.
absl::Status StopTogether(const Ranks& ranks) {
  if (ranks.group() == nullptr) return absl::OkStatus();
  const at::Tensor stops = at::full({1}, StopRequested() ? 1 : 0, at::kLong);
  MIXREC_RETURN_IF_ERROR(ranks.group()->AllReduce(stops, "the wait for the scheduler"));
  if (stops.item<int64_t>() > 0) RequestStop();
  return absl::OkStatus();
}

std::string TextOf(const GroupJob& job) {
  return Json{{"trial", job.id.trial}, {"attempt", job.id.attempt}, {"work", job.work}}.dump();
}

// Of the leader's text, as another rank sees it: nobody but the leader is told to stop.
GroupJob ParseJob(const std::string& text) {
  const Json json = Json::parse(text);
  GroupJob job;
  job.id.trial = json.at("trial").get<int>();
  job.id.attempt = json.at("attempt").get<int>();
  job.work = json.at("work").get<std::string>();
  job.stop = std::make_shared<std::atomic<bool>>(false);
  return job;
}

// The next trial, on every rank; nullopt: the line has ended.
absl::StatusOr<std::optional<GroupJob>> HearJob(const Ranks& ranks, GroupLink* link) {
  std::optional<GroupJob> own;
  const auto hear = [&]() -> std::string {
    own = link->NextJobWithin(kHearing);
    if (own) return TextOf(*own);
    return link->HasEnded() ? kLineHasEnded : "";
  };
  MIXREC_ASSIGN_OR_RETURN(const std::string text, HearTogether(ranks, "the next trial", hear));
  if (own || text == kLineHasEnded) return own;
  return std::optional<GroupJob>(ParseJob(text));
}

bool IsOfTheTrial(const absl::Status& status) {
  return status.ok() || absl::IsCancelled(status) || collective::IsAgreed(status);
}

// The group ends. What would fail again elsewhere is said before; all else the lease settles.
absl::Status EndGroup(const absl::Status& failure, const GroupJob& job,
                      const scheduler::Outcome& outcome, GroupLink* link) {
  const std::string text = StatusText(failure);
  if (link != nullptr && outcome.failure != scheduler::Failure::kTransient) {
    link->Ended(job.id, outcome);
    link->Leave(text);
    link->Join().IgnoreError();
  }
  return FailureError(text);
}

}  // namespace

absl::StatusOr<std::string> HearTogether(const Ranks& ranks, const std::string& what,
                                         const std::function<std::string()>& hear) {
  while (true) {
    MIXREC_RETURN_IF_ERROR(StopTogether(ranks));
    std::string heard = ranks.leads() ? hear() : "";
    MIXREC_RETURN_IF_ERROR(ranks.Share(what, &heard));
    if (!heard.empty()) return heard;
  }
}

absl::StatusOr<std::string> HearStudy(const Ranks& ranks, GroupLink* link) {
  return HearTogether(ranks, "the study", [&]() -> std::string {
    if (const std::optional<std::string> study = link->StudyWithin(kHearing)) return *study;
    return link->HasEnded() ? kLineHasEnded : "";
  });
}

absl::Status ServeTogether(const TrialFunction& run, const std::string& group, const Ranks& ranks,
                           const RecentLog& log, GroupLink* link) {
  const std::string who = StrCat(group, ", rank ", ranks.rank());
  while (true) {
    MIXREC_ASSIGN_OR_RETURN(const std::optional<GroupJob> job, HearJob(ranks, link));
    if (!job) return absl::OkStatus();
    // The leader's link says it of its own.
    if (link == nullptr) LOG(INFO) << "group " << who << ", trial " << job->id.trial << " begins";
    const TrialEnd end = RunTrial(run, who, *job, log, link);
    if (!IsOfTheTrial(end.status)) return EndGroup(end.status, *job, end.outcome, link);
    if (link != nullptr) link->Ended(job->id, end.outcome);
  }
}

}  // namespace mixrec::launch
