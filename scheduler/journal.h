// The study journal: the only state of a search, an append-only text file.
//
// The format is Optuna's journal file format (one JSON object a line, op_code 0 create study,
// 2 study attribute, 4 create trial, 5 parameter, 6 state, 7 intermediate value, 8 trial attribute;
// checked against Optuna 5.0), so `optuna.load_study` and optuna-dashboard read the file as it is.
// docs/journal.md describes every record.
//
// Guarantees: a record is one write() followed by fsync; a torn last line is ignored by readers and
// cut off before the next append; one writer at a time (flock). The journal knows nothing of the
// model or of the search: parameters and attributes are opaque to it. One thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"
#include "scheduler/journal_storage.h"
#include "scheduler/mutation.h"

namespace mixrec::scheduler {

// Optuna's numbers.
enum class TrialState { kRunning = 0, kComplete = 1, kPruned = 2, kFailed = 3, kWaiting = 4 };
std::string_view TrialStateName(TrialState state);  // "running", "complete", ...

// One categorical parameter of a trial: choices[index] of the named parameter.
struct TrialParameter {
  std::string name;
  std::vector<std::string> choices;
  int index = 0;
};

struct TrialRecord {
  int number = 0;  // 0, 1, ... in the order of creation
  TrialState state = TrialState::kRunning;
  std::vector<TrialParameter> parameters;
  std::map<std::string, nlohmann::json> attributes;
  // Attributes that were set after its creation, in their order, values that were replaced
  // included.
  std::vector<std::pair<std::string, nlohmann::json>> changes;
  std::map<int, double> intermediate_values;  // epoch -> value
  std::optional<double> value;                // of complete (and some pruned) trials
  std::string started, completed;             // ISO 8601, UTC; empty = not yet
  int64_t created_at = 0;                     // index of the record that created the trial,
  int64_t finished_at = -1;                   // and of the one that ended it: the order of events

  bool finished() const { return state != TrialState::kRunning && state != TrialState::kWaiting; }
  // The attribute as text or number; empty / nullopt when absent or of another type.
  std::string Text(const std::string& attribute) const;
  std::optional<double> Number(const std::string& attribute) const;
};

struct StudyRecord {
  std::string name;
  bool created = false;
  bool maximise = true;
  std::map<std::string, nlohmann::json> attributes;
  std::vector<TrialRecord> trials;
  int64_t records = 0;  // complete records read

  // Complete trials, best value first; ties by number.
  std::vector<const TrialRecord*> Ranked() const;
};

// Replays the text of a journal. DataError, naming the line, for a damaged record that is not the
// torn last line. `valid_bytes`, when given, receives the length of the part that was read.
absl::StatusOr<StudyRecord> ReplayJournal(std::string_view text, const std::string& path,
                                          size_t* valid_bytes = nullptr);

// Reads a journal without locking it; a writer may be at work.
absl::StatusOr<StudyRecord> ReadJournal(const std::string& path);

// The one writer of a journal. Move-only; closing releases the lock.
class Journal {
 public:
  // Opens or creates the file, takes the lock (FailureError naming the holder when another process
  // has it), replays it and cuts off a torn tail.
  static absl::StatusOr<Journal> Open(const std::string& path);
  // The same on any storage; `name` stands in messages, `clock` gives the records' times.
  static absl::StatusOr<Journal> OpenOn(std::unique_ptr<JournalStorage> storage,
                                        const std::string& name,
                                        std::function<std::string()> clock = nullptr);
  Journal(Journal&&) noexcept = default;
  Journal& operator=(Journal&&) noexcept = default;

  // Everything recorded so far, appended records included.
  const StudyRecord& study() const { return study_; }
  const std::string& path() const { return path_; }
  // The time of a record that is written now: ISO 8601, UTC.
  std::string Now() const { return clock_(); }
  // For the simulation alone: makes the mistakes that are the journal's.
  void set_mutation(Mutation mutation) { mutation_ = mutation; }

  // Each appends records and returns when they are on the disk. Trial numbers must exist and be
  // unfinished (CHECK).
  absl::Status CreateStudy(const std::string& name, bool maximise);
  absl::Status SetStudyAttribute(const std::string& key, const nlohmann::json& value);
  // One record, so that a trial either exists with all its parameters or not at all. Returns the
  // new trial's number.
  absl::StatusOr<int> CreateTrial(const std::vector<TrialParameter>& parameters,
                                  const std::map<std::string, nlohmann::json>& attributes);
  absl::Status SetIntermediateValue(int number, int step, double value);
  absl::Status SetTrialAttribute(int number, const std::string& key, const nlohmann::json& value);
  // Attributes first, the state last: the trial is finished when the last record is on the disk.
  absl::Status FinishTrial(int number, TrialState state, std::optional<double> value,
                           const std::map<std::string, nlohmann::json>& attributes);

 private:
  Journal() = default;
  absl::Status Append(const nlohmann::json& record);
  void CheckUnfinished(int number) const;

  std::string path_;
  std::string worker_id_;
  std::unique_ptr<JournalStorage> storage_;
  std::function<std::string()> clock_;
  Mutation mutation_ = Mutation::kNone;
  StudyRecord study_;
};

}  // namespace mixrec::scheduler
