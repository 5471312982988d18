#include "launch/logging.h"

#include "common/file.h"
#include "common/log.h"

namespace mixrec::launch {

void StartLogging(const char* program) {
  // An empty destination means no file for that severity.
  for (int severity = 0; severity < google::NUM_SEVERITIES; ++severity) {
    google::SetLogDestination(severity, "");
  }
  FLAGS_logtostderr = false;
  FLAGS_stderrthreshold = google::GLOG_WARNING;
  google::InitGoogleLogging(program);
  google::InstallFailureSignalHandler();
}

void SetTerminalLogLevel(const std::string& level) {
  FLAGS_stderrthreshold = level == "info"      ? google::GLOG_INFO
                          : level == "warning" ? google::GLOG_WARNING
                                               : google::GLOG_ERROR;
}

absl::Status LogInto(const std::string& folder, const std::string& name) {
  MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
  // Messages also go to the files of all lower severities: one file holds everything.
  google::SetLogDestination(google::GLOG_INFO, StrCat(folder, "/", name, ".log.").c_str());
  google::SetLogSymlink(google::GLOG_INFO, "");
  return absl::OkStatus();
}

void FlushLog() { google::FlushLogFiles(google::GLOG_INFO); }

}  // namespace mixrec::launch
