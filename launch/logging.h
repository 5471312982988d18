// Where log messages go: to the terminal from --log_level up, all of them to files below the run,
// never to /tmp.
#pragma once

#include <string>

#include "common/status.h"

namespace mixrec::launch {

// Starts glog without log files and prints a stack trace when the process crashes. Once, in main.
void StartLogging(const char* program);

// From now on, messages of at least this level ("info", "warning", "error") reach the terminal.
void SetTerminalLogLevel(const std::string& level);

// From now on, messages go to FOLDER/NAME.log.* too (made if missing).
absl::Status LogInto(const std::string& folder, const std::string& name = "mixrec");

// What was logged is in its file.
void FlushLog();

}  // namespace mixrec::launch
