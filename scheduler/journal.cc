#include "scheduler/journal.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "common/file.h"
#include "common/log.h"
#include "scheduler/journal_record.h"

namespace mixrec::scheduler {
namespace {

using nlohmann::json;

}  // namespace

std::string_view TrialStateName(TrialState state) {
  switch (state) {
    case TrialState::kRunning:
      return "running";
    case TrialState::kComplete:
      return "complete";
    case TrialState::kPruned:
      return "pruned";
    case TrialState::kFailed:
      return "failed";
    case TrialState::kWaiting:
      return "waiting";
  }
  return "unknown";
}

std::string TrialRecord::Text(const std::string& attribute) const {
  const auto found = attributes.find(attribute);
  return found != attributes.end() && found->second.is_string() ? found->second.get<std::string>()
                                                                : "";
}

std::optional<double> TrialRecord::Number(const std::string& attribute) const {
  const auto found = attributes.find(attribute);
  if (found == attributes.end() || !found->second.is_number()) return std::nullopt;
  return found->second.get<double>();
}

std::vector<const TrialRecord*> StudyRecord::Ranked() const {
  std::vector<const TrialRecord*> ranked;
  for (const TrialRecord& trial : trials) {
    if (trial.state == TrialState::kComplete && trial.value) ranked.push_back(&trial);
  }
  std::stable_sort(ranked.begin(), ranked.end(), [&](const TrialRecord* a, const TrialRecord* b) {
    return maximise ? *a->value > *b->value : *a->value < *b->value;
  });
  return ranked;
}

absl::StatusOr<StudyRecord> ReplayJournal(std::string_view text, const std::string& path,
                                          size_t* valid_bytes) {
  StudyRecord study;
  size_t begin = 0;
  for (int line = 1; begin < text.size(); ++line) {
    const size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) break;  // torn: the writer died within this record
    const json record = json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                    text.begin() + static_cast<std::ptrdiff_t>(end), nullptr,
                                    /*allow_exceptions=*/false);
    if (!record.is_object()) {
      // A machine that lost power may leave garbage, or zeros, in the place of the last record.
      if (end + 1 == text.size()) break;
      return DataError(path, ":", line, ": not a JSON object, and not the last line; restore the ",
                       "journal from a copy, or cut it off before this line");
    }
    if (absl::Status status = ApplyRecord(record, &study); !status.ok()) {
      return DataError(path, ":", line, ": ", std::string(status.message()));
    }
    begin = end + 1;
  }
  if (valid_bytes != nullptr) *valid_bytes = begin;
  return study;
}

absl::StatusOr<StudyRecord> ReadJournal(const std::string& path) {
  MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ReplayJournal(text, path);
}

absl::StatusOr<Journal> Journal::Open(const std::string& path) {
  MIXREC_ASSIGN_OR_RETURN(std::unique_ptr<JournalStorage> storage, OpenJournalFile(path));
  return OpenOn(std::move(storage), path);
}

absl::StatusOr<Journal> Journal::OpenOn(std::unique_ptr<JournalStorage> storage,
                                        const std::string& name,
                                        std::function<std::string()> clock) {
  Journal journal;
  journal.path_ = name;
  journal.worker_id_ = StrCat("mixrec-", ::getpid());
  journal.storage_ = std::move(storage);
  journal.clock_ = clock ? std::move(clock) : UtcNow;
  MIXREC_ASSIGN_OR_RETURN(const std::string text, journal.storage_->Read());
  size_t valid_bytes = 0;
  MIXREC_ASSIGN_OR_RETURN(journal.study_, ReplayJournal(text, name, &valid_bytes));
  if (valid_bytes < text.size()) {
    MIXREC_RETURN_IF_ERROR(journal.storage_->Truncate(valid_bytes));
  }
  return journal;
}

absl::Status Journal::Append(const json& record) {
  CHECK(storage_ != nullptr) << "the journal was moved away";
  json signed_record = record;
  signed_record["worker_id"] = worker_id_;
  const std::string line =
      signed_record.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  MIXREC_RETURN_IF_ERROR(storage_->Append(line));
  if (mutation_ != Mutation::kNoSync) MIXREC_RETURN_IF_ERROR(storage_->Sync());
  const absl::Status applied = ApplyRecord(record, &study_);
  CHECK(applied.ok()) << "a record that was written does not apply: " << applied.ToString();
  return absl::OkStatus();
}

absl::Status Journal::CreateStudy(const std::string& name, bool maximise) {
  CHECK(!study_.created) << path_ << ": the journal has its study already";
  return Append(CreateStudyRecord(name, maximise));
}

absl::Status Journal::SetStudyAttribute(const std::string& key, const json& value) {
  return Append(StudyAttributeRecord(key, value));
}

absl::StatusOr<int> Journal::CreateTrial(const std::vector<TrialParameter>& parameters,
                                         const std::map<std::string, json>& attributes) {
  MIXREC_RETURN_IF_ERROR(Append(CreateTrialRecord(parameters, attributes, clock_())));
  return study_.trials.back().number;
}

absl::Status Journal::SetIntermediateValue(int number, int step, double value) {
  CheckUnfinished(number);
  return Append(IntermediateValueRecord(number, step, value));
}

absl::Status Journal::SetTrialAttribute(int number, const std::string& key, const json& value) {
  CheckUnfinished(number);
  return Append(TrialAttributeRecord(number, key, value));
}

absl::Status Journal::FinishTrial(int number, TrialState state, std::optional<double> value,
                                  const std::map<std::string, json>& attributes) {
  CheckUnfinished(number);
  for (const auto& [key, attribute] : attributes) {
    MIXREC_RETURN_IF_ERROR(Append(TrialAttributeRecord(number, key, attribute)));
  }
  return Append(TrialStateRecord(number, state, value, clock_()));
}

void Journal::CheckUnfinished(int number) const {
  CHECK(number >= 0 && number < static_cast<int>(study_.trials.size())) << "no trial " << number;
  CHECK(!study_.trials[static_cast<size_t>(number)].finished() || mutation_ != Mutation::kNone)
      << "trial " << number << " is finished already";
}

}  // namespace mixrec::scheduler
