#include "launch/study_files.h"

#include <signal.h>

#include <cerrno>
#include <filesystem>

#include "common/file.h"
#include "launch/clock_text.h"
#include "launch/run_folder.h"

namespace mixrec::launch {
namespace {

using nlohmann::json;
using scheduler::StudyPhase;
using scheduler::StudyView;

constexpr char kJournal[] = "/study.journal";

StudyPhase PhaseOfRun(const std::string& state) {
  if (state == "finished") return StudyPhase::kFinished;
  if (state == "stopped") return StudyPhase::kStopped;
  return state == "failed" ? StudyPhase::kFailed : StudyPhase::kRunning;
}

void Complete(const json& run, StudyView* view) {
  const json flags = run.value("flags", json::object());
  const std::string trials = flags.value("trials", "");
  if (view->wanted == 0 && !trials.empty()) view->wanted = std::atoi(trials.c_str());
  if (scheduler::StatusOf(view->study)) return;
  view->status.phase = PhaseOfRun(run.value("state", ""));
  view->status.reason = run.value("message", "");
}

}  // namespace

absl::StatusOr<StudyView> ReadStudyView(const std::string& folder) {
  if (!std::filesystem::exists(folder + kJournal)) {
    return DataError(folder, ": no study here (no study.journal); `mixrec search --out=DIR` and ",
                     "`mixrec scheduler --study=DIR` begin one");
  }
  MIXREC_ASSIGN_OR_RETURN(const scheduler::StudyRecord study,
                          scheduler::ReadJournal(folder + kJournal));
  StudyView view = scheduler::ViewOf(study);
  const absl::StatusOr<json> run = ReadRunRecord(folder);
  if (run.ok()) Complete(*run, &view);
  return view;
}

std::optional<StudyWriter> WriterOf(const std::string& folder) {
  const absl::StatusOr<json> run = ReadRunRecord(folder);
  if (!run.ok() || !run->contains("process")) return std::nullopt;
  StudyWriter writer{run->value("host", ""), run->value("process", int64_t{0}), std::nullopt};
  if (writer.host != HostName() || writer.process <= 0) return writer;
  writer.alive = ::kill(static_cast<pid_t>(writer.process), 0) == 0 || errno == EPERM;
  return writer;
}

json SchedulerRecord(const std::string& folder) {
  const absl::StatusOr<std::string> text = ReadFile(folder + "/scheduler.json");
  if (!text.ok()) return nullptr;
  json record = json::parse(*text, nullptr, /*allow_exceptions=*/false);
  return record.is_object() ? record : json(nullptr);
}

StudySource FolderSource(const std::string& folder) {
  struct Cache {
    uintmax_t size = 0;
    std::shared_ptr<const StudyView> view;
  };
  return [folder,
          cache = std::make_shared<Cache>()]() -> absl::StatusOr<std::shared_ptr<const StudyView>> {
    std::error_code error;
    const uintmax_t size = std::filesystem::file_size(folder + kJournal, error);
    if (error || cache->view == nullptr || size != cache->size) {
      MIXREC_ASSIGN_OR_RETURN(StudyView view, ReadStudyView(folder));
      cache->view = std::make_shared<StudyView>(std::move(view));
      cache->size = size;
    }
    return cache->view;
  };
}

}  // namespace mixrec::launch
