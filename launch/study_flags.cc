#include "launch/study_flags.h"

#include <filesystem>

#include "launch/flag_reader.h"

namespace mixrec::launch {
namespace {

bool BelongsToOneStart(const std::string& flag) {
  for (const char* name : {"out", "resume", "resume_allow", "dry_run", "max_walltime",
                           "stop_signal", "simulate_preemption", "log_level", "device", "precision",
                           "threads", "ps", "ps_key_file", "ps_deadline"}) {
    if (flag == name) return true;
  }
  return false;
}

bool IsPath(const std::string& flag) {
  return flag == "data" || flag == "backbone" || flag == "tokenizer" || flag == "hard_samples";
}

}  // namespace

std::string BestFlags(const Invocation& search, const std::string& architecture,
                      const std::map<std::string, int64_t>& values, const std::string& comment) {
  std::string text = StrCat("# ", comment, "\n# mixrec train --flagfile=THIS_FILE --out=RUN\n",
                            FlagFileLine("architecture", architecture), "\n");
  for (const auto& [name, value] : values) text += StrCat(FlagFileLine(name, StrCat(value)), "\n");
  for (const auto& [name, value] : search.values) {
    if (values.count(name) > 0) continue;
    if (!search.table->Takes("train", name) || BelongsToOneStart(name)) continue;
    const bool path = IsPath(name) && !value.empty();
    text +=
        StrCat(FlagFileLine(name, path ? std::filesystem::absolute(value).string() : value), "\n");
  }
  return text;
}

}  // namespace mixrec::launch
