#include "launch/run_request.h"

#include <set>
#include <string_view>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/file.h"
#include "launch/flag_reader.h"

namespace mixrec::launch {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kFree =
    " out data backbone tokenizer hard_samples cf device threads log_level resume resume_allow "
    "dry_run"
    " tensorboard keep_last max_walltime stop_signal simulate_preemption ps ps_key_file "
    "ps_deadline systems variations "
    "seeds jobs"
    " devices study rank_deadline network log_steps checkpoint_steps checkpoint_minutes ";
// Who works on a search and how long; the study compares the rest of what may change.
constexpr std::string_view kFreeOfSearch =
    " trials groups group_ranks slots lease_seconds http key_file insecure listen "
    "heartbeat_seconds space"
    " warm_start max_trial_retries drain_seconds replicate_top early_stop trial_memory_gib "
    "trial_tflop shards per_gpu ";

bool IsIn(std::string_view names, const std::string& flag) {
  return names.find(StrCat(" ", flag, " ")) != std::string_view::npos;
}

// "--lr is 5e-05 there and 0.001 here, ..." over the config's flags that are not allowed to differ.
std::string Differences(const RunRequest& request, const Json& old_flags) {
  const std::vector<std::string> allowed = absl::StrSplit(request.resume_allow, ',');
  const std::set<std::string> may_differ(allowed.begin(), allowed.end());
  std::vector<std::string> differences;
  for (const auto& [name, value] : request.flags) {
    if (!IsPartOfConfig(request.verb, name) || may_differ.count(name) > 0) continue;
    const std::string old = old_flags.value(name, "absent");
    if (old != value) {
      differences.push_back(StrCat("--", name, " is \"", old, "\" there and \"", value, "\" here"));
    }
  }
  return absl::StrJoin(differences, ", ");
}

absl::Status CheckInputs(const RunRequest& request, const Json& old_record) {
  const Json old_inputs = old_record.value("inputs", Json::object());
  for (const auto& [name, input] : request.inputs) {
    const Json old = old_inputs.value(name, Json::object());
    const std::string old_hash = old.value("hash", "");
    if (old_hash == input.hash) continue;
    return DataError("the ", name, " in ", input.path, " (hash ", input.hash,
                     ") is not what the run in ", request.folder, " was started with (",
                     old.value("path", "none"), ", hash ", old_hash,
                     "); restore it, choose another --out, or --resume=none");
  }
  for (const auto& [name, old] : old_inputs.items()) {
    if (request.inputs.count(name) > 0) continue;
    return DataError("the run in ", request.folder, " was started with --", name, "=",
                     old.value("path", ""),
                     "; give it again, choose another --out, or "
                     "--resume=none");
  }
  return absl::OkStatus();
}

}  // namespace

bool IsPartOfConfig(const std::string& verb, const std::string& flag) {
  if (IsIn(kFree, flag)) return false;
  if (verb == "table") return flag != "trials";
  return verb != "search" || !IsIn(kFreeOfSearch, flag);
}

std::string ConfigHash(const RunRequest& request) {
  std::string text = request.verb;
  for (const auto& [name, value] : request.flags) {
    if (IsPartOfConfig(request.verb, name)) text += StrCat("\n", FlagFileLine(name, value));
  }
  for (const auto& [name, input] : request.inputs) text += StrCat("\n", name, " ", input.hash);
  return ContentHash(text);
}

absl::Status CheckSameRun(const RunRequest& request, const Json& old_record) {
  const std::string old_verb = old_record.value("command", "");
  if (old_verb != request.verb) {
    return UsageError(request.folder, " holds a run of `mixrec ", old_verb,
                      "`; choose another --out");
  }
  MIXREC_RETURN_IF_ERROR(CheckInputs(request, old_record));
  const std::string differences = Differences(request, old_record.value("flags", Json::object()));
  if (differences.empty()) return absl::OkStatus();
  return UsageError("the run in ", request.folder, " has other flags: ", differences,
                    "; --resume_allow=FLAG,... goes on all the same, --resume=none starts afresh, "
                    "or choose another --out");
}

}  // namespace mixrec::launch
