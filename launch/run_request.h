// What a run is started with, and whether that is the run that lies in its folder.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/status.h"
#include "nlohmann/json.hpp"

namespace mixrec::launch {

// A file or folder that a run depends on, and what was in it.
struct Input {
  std::string path;
  std::string hash;
};

struct RunRequest {
  std::string folder;
  std::string verb;
  std::vector<std::string> arguments;
  std::map<std::string, std::string> flags;  // all flags of the verb
  std::map<std::string, Input> inputs;       // "data", "backbone", "tokenizer"
  std::string resume = "auto";               // auto, none, or the path of a checkpoint
  std::string resume_allow;                  // flags that may differ, separated by commas
};

// Flags that say where or how a command runs and not what it computes: they may change between
// stop and resume. (Paths of inputs count by content.)
bool IsPartOfConfig(const std::string& verb, const std::string& flag);

// Hash of the flags that decide the result, and of the inputs' contents.
std::string ConfigHash(const RunRequest& request);

// Whether the run that run.json speaks of may go on under this request. UsageError with the
// differing flags, or of another command; DataError for inputs with other contents.
absl::Status CheckSameRun(const RunRequest& request, const nlohmann::json& record);

}  // namespace mixrec::launch
