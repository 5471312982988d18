#include "launch/search_shards.h"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "common/file.h"
#include "common/stop_signal.h"
#include "launch/flags.h"

namespace mixrec::launch {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(60);
constexpr auto kGrace = std::chrono::seconds(10);  // for SIGTERM
constexpr auto kPoll = std::chrono::milliseconds(50);

// Where the authority listens, once all shards are up; empty before.
std::string ReadyAddress(const std::string& log) {
  std::istringstream lines(ReadFile(log).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    const auto event = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (event.is_object() && event.value("event", "") == "ready") {
      return event.value("authority", "");
    }
  }
  return "";
}

}  // namespace

absl::StatusOr<std::unique_ptr<SearchShards>> SearchShards::Start(int shards,
                                                                  const std::string& folder) {
  std::unique_ptr<SearchShards> started(new SearchShards(folder + "/shards"));
  ::unlink(started->log_.c_str());  // an earlier start's address is nobody's now
  ChildCommand command;
  command.words = {"ps",
                   StrCat("--shards=", shards),
                   "--listen=127.0.0.1:0",
                   StrCat("--device=", FLAGS_device),
                   StrCat("--threads=", FLAGS_threads),
                   StrCat("--log_level=", FLAGS_log_level)};
  command.log = started->log_;
  MIXREC_ASSIGN_OR_RETURN(started->process_, ChildProcess::Start(command));
  MIXREC_RETURN_IF_ERROR(started->AwaitReady());
  return started;
}

absl::Status SearchShards::AwaitReady() {
  const auto until = Clock::now() + kPatience;
  while ((address_ = ReadyAddress(log_)).empty()) {
    MIXREC_RETURN_IF_ERROR(Check());
    if (StopRequested()) return StoppedError("stopped before the shards were ready");
    if (Clock::now() > until) {
      return FailureError("the shards are not ready after ", kPatience.count(), " s; see ", log_);
    }
    std::this_thread::sleep_for(kPoll);
  }
  return absl::OkStatus();
}

absl::Status SearchShards::Check() {
  absl::Status outcome;
  if (have_ended() || !process_->HasEnded(&outcome)) return absl::OkStatus();
  process_.reset();
  return FailureError("the search's shards have ended (", std::string(outcome.message()),
                      "); the same command goes on from the trials' checkpoints");
}

SearchShards::~SearchShards() {
  if (have_ended()) return;
  process_->Signal(SIGTERM);
  absl::Status ignored;
  const auto until = Clock::now() + kGrace;
  while (!process_->HasEnded(&ignored) && Clock::now() < until) std::this_thread::sleep_for(kPoll);
}

}  // namespace mixrec::launch
