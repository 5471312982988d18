#include <chrono>
#include <iostream>
#include <thread>

#include "bo_driver/report.h"
#include "bo_driver/study_definition.h"
#include "common/stop_signal.h"
#include "launch/commands.h"
#include "launch/flags_status.h"
#include "launch/flags_table.h"
#include "launch/live_page.h"
#include "launch/options.h"
#include "launch/study_files.h"

namespace mixrec::launch {
namespace {

using nlohmann::json;
using scheduler::StudyView;

bool IsRunning(const StudyView& view) {
  return view.status.phase == scheduler::StudyPhase::kRunning;
}

// Who runs the study, where to reach it; or that nobody does.
std::string WriterText(const StudyView& view, const std::string& folder) {
  if (!IsRunning(view)) return "";
  const std::optional<StudyWriter> writer = WriterOf(folder);
  if (!writer) return "";
  const std::string process = StrCat("process ", writer->process, " on ", writer->host);
  if (!writer->alive.value_or(true)) {
    return StrCat("\n", process, " has ended without a word: nobody runs the study now; the same ",
                  "command goes on with it\n");
  }
  std::string text = StrCat("\nrun by ", process);
  const json scheduler = SchedulerRecord(folder);
  if (!scheduler.is_null()) {
    text += StrCat(", scheduler at ", scheduler.value("address", "?"));
    const std::string page = scheduler.value("http", "");
    if (!page.empty()) text += StrCat(", page at http://", page);
  }
  return text + "\n";
}

json WithWriter(json study, const std::string& folder) {
  study["scheduler"] = SchedulerRecord(folder);
  study["writer"] = nullptr;
  if (const std::optional<StudyWriter> writer = WriterOf(folder)) {
    study["writer"] = {{"host", writer->host},
                       {"process", writer->process},
                       {"alive", writer->alive ? json(*writer->alive) : json(nullptr)}};
  }
  return study;
}

// Shows the page until somebody stops the program.
absl::Status Serve(std::ostream& out) {
  MIXREC_ASSIGN_OR_RETURN(const std::unique_ptr<LivePage> page,
                          LivePage::Start(FLAGS_http, FolderSource(FLAGS_study)));
  out << "http://" << page->address() << " shows " << FLAGS_study << "; Ctrl-C ends it"
      << std::endl;
  while (!StopRequested()) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  return absl::OkStatus();
}

// Whether the search would suggest again what it suggested.
absl::Status Replay(const StudyView& view, std::ostream& out) {
  MIXREC_ASSIGN_OR_RETURN(const std::string difference, bo_driver::CheckSuggestions(view.study));
  if (!difference.empty()) {
    return FailureError(FLAGS_study,
                        "/study.journal is not what the search would do: ", difference);
  }
  out << view.study.trials.size() << " suggestions, each the same again" << std::endl;
  return absl::OkStatus();
}

}  // namespace

absl::Status RunStatus(const Invocation& invocation) {
  MIXREC_RETURN_IF_ERROR(RequireFlag("study", FLAGS_study));
  MIXREC_ASSIGN_OR_RETURN(const StudyView view, ReadStudyView(FLAGS_study));
  if (!FLAGS_http.empty()) return Serve(*invocation.out);
  if (FLAGS_replay) return Replay(view, *invocation.out);
  if (FLAGS_json) {
    *invocation.out << WithWriter(bo_driver::StudyJson(view, nullptr), FLAGS_study).dump(2) << "\n";
    return absl::OkStatus();
  }
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  *invocation.out << bo_driver::StudyText(view, IsRunning(view) ? now : 0)
                  << WriterText(view, FLAGS_study) << std::flush;
  return absl::OkStatus();
}

}  // namespace mixrec::launch
