#include "scheduler/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "common/file.h"
#include "common/log.h"
#include "scheduler/journal_record.h"

namespace mixrec::scheduler {
namespace {

using nlohmann::json;

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status SystemError(const char* what, const std::string& path) {
  return FailureError(path, ": ", what, " failed: ", ::strerror(errno));
}

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
  Journal journal;
  journal.path_ = path;
  journal.worker_id_ = StrCat("mixrec-", ::getpid());
  const bool is_new = !PathExists(path);
  journal.file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (journal.file_ < 0) return SystemError("opening", path);
  if (::flock(journal.file_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return SystemError("locking", path);
    return FailureError(path, ": another process is writing this study; wait until it ends, or ",
                        "give this one a folder of its own");
  }
  if (is_new) MIXREC_RETURN_IF_ERROR(SyncFolder(FolderOf(path)));
  MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  size_t valid_bytes = 0;
  MIXREC_ASSIGN_OR_RETURN(journal.study_, ReplayJournal(text, path, &valid_bytes));
  if (valid_bytes < text.size()) {
    if (::ftruncate(journal.file_, static_cast<off_t>(valid_bytes)) != 0 ||
        ::fsync(journal.file_) != 0) {
      return SystemError("cutting off the torn last record", path);
    }
  }
  return journal;
}

Journal::Journal(Journal&& other) noexcept { *this = std::move(other); }

Journal& Journal::operator=(Journal&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(worker_id_, other.worker_id_);
  std::swap(file_, other.file_);
  std::swap(study_, other.study_);
  return *this;
}

Journal::~Journal() {
  if (file_ >= 0) ::close(file_);  // releases the lock
}

absl::Status Journal::Append(const json& record) {
  CHECK_GE(file_, 0) << "the journal was moved away";
  json signed_record = record;
  signed_record["worker_id"] = worker_id_;
  const std::string line =
      signed_record.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  const off_t before = ::lseek(file_, 0, SEEK_END);
  const ssize_t written = ::write(file_, line.data(), line.size());
  if (written != static_cast<ssize_t>(line.size()) || ::fsync(file_) != 0) {
    const absl::Status status = SystemError("appending a record", path_);
    // A part of a record would spoil the next one. If this fails too, the next Open cuts it off.
    if (before >= 0 && ::ftruncate(file_, before) != 0) return status;
    return status;
  }
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
  MIXREC_RETURN_IF_ERROR(Append(CreateTrialRecord(parameters, attributes, UtcNow())));
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
  return Append(TrialStateRecord(number, state, value, UtcNow()));
}

void Journal::CheckUnfinished(int number) const {
  CHECK(number >= 0 && number < static_cast<int>(study_.trials.size())) << "no trial " << number;
  CHECK(!study_.trials[static_cast<size_t>(number)].finished())
      << "trial " << number << " is finished already";
}

}  // namespace mixrec::scheduler
