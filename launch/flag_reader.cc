#include "launch/flag_reader.h"

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "absl/strings/str_join.h"
#include "common/file.h"
#include "launch/flag_line.h"

namespace mixrec::launch {
namespace {

namespace fs = std::filesystem;

// One reading of a command line: the table, the verb, and the flag files that are open.
class Reader {
 public:
  Reader(const FlagTable& table, std::string_view verb) : table_(table), verb_(verb) {}

  absl::Status ReadArguments(const std::vector<std::string>& arguments);
  absl::Status ReadFile(const std::string& path, const FlagOrigin& included_from);

  // Values of flag files first, so that the command line overrules them.
  std::vector<FlagAssignment> Take() {
    from_files_.insert(from_files_.end(), from_arguments_.begin(), from_arguments_.end());
    return std::move(from_files_);
  }

 private:
  absl::Status ReadLine(const std::string& line, const FlagOrigin& origin);
  // The flag itself, or through --noNAME of a boolean. UsageError when unknown.
  absl::StatusOr<const Flag*> Resolve(WrittenFlag* written, const FlagOrigin& origin) const;
  absl::Status Assign(const Flag& flag, const WrittenFlag& written, const FlagOrigin& origin);
  absl::Status StrayWord(const std::vector<std::string>& arguments, size_t index) const;

  const FlagTable& table_;
  const std::string verb_;
  std::vector<std::string> open_files_;
  std::vector<FlagAssignment> from_files_, from_arguments_;
};

absl::StatusOr<const Flag*> Reader::Resolve(WrittenFlag* written, const FlagOrigin& origin) const {
  if (const Flag* flag = table_.Find(written->name)) return flag;
  if (written->name.rfind("no", 0) == 0 && !written->has_value) {
    const Flag* flag = table_.Find(written->name.substr(2));
    if (flag != nullptr && flag->type == FlagType::kBool) {
      *written = {flag->name, "false", true};
      return flag;
    }
  }
  const std::string closest = table_.Closest(verb_, written->name);
  return UsageError(origin.Prefix(), "unknown flag --", written->name,
                    DidYouMean(closest.empty() ? "" : StrCat("--", closest)), "; `mixrec help ",
                    verb_, "` lists the flags");
}

absl::Status Reader::Assign(const Flag& flag, const WrittenFlag& written,
                            const FlagOrigin& origin) {
  const std::string expected = ExpectedInstead(flag, written.value);
  if (!expected.empty()) {
    return UsageError(origin.Prefix(), "--", flag.name, "=", written.value, ": expected ",
                      expected);
  }
  const bool in_file = origin.line > 0;
  if (!table_.Takes(verb_, flag.name)) {
    if (in_file) return absl::OkStatus();
    return UsageError("`mixrec ", verb_, "` does not take --", flag.name, "; it is a flag of ",
                      absl::StrJoin(flag.verbs, ", "));
  }
  (in_file ? from_files_ : from_arguments_).push_back({flag.name, written.value, origin});
  return absl::OkStatus();
}

absl::Status Reader::StrayWord(const std::vector<std::string>& arguments, size_t index) const {
  const std::string& word = arguments[index];
  std::string hint;
  WrittenFlag before;
  if (index > 0 && SplitFlag(arguments[index - 1], &before) && !before.has_value) {
    const Flag* flag = table_.Find(before.name);
    if (flag != nullptr && flag->type == FlagType::kBool) {
      hint = StrCat("; write --", flag->name, "=", word, " for a true-or-false flag");
    }
  }
  return UsageError("unexpected argument \"", word, "\"", hint);
}

absl::Status Reader::ReadArguments(const std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    WrittenFlag written;
    if (!SplitFlag(arguments[i], &written)) return StrayWord(arguments, i);
    const bool flag_file = written.name == "flagfile";
    const Flag* flag = nullptr;
    if (!flag_file) {
      MIXREC_ASSIGN_OR_RETURN(flag, Resolve(&written, FlagOrigin()));
    }
    if (!written.has_value && !flag_file && flag->type == FlagType::kBool) {
      written.value = "true";
    } else if (!written.has_value) {
      WrittenFlag next;
      if (i + 1 == arguments.size() || SplitFlag(arguments[i + 1], &next)) {
        return UsageError("--", written.name, " has no value; write --", written.name, "=VALUE");
      }
      written.value = arguments[++i];
    }
    MIXREC_RETURN_IF_ERROR(flag_file ? ReadFile(written.value, FlagOrigin())
                                     : Assign(*flag, written, FlagOrigin()));
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadFile(const std::string& path, const FlagOrigin& included_from) {
  std::error_code ignored;
  const std::string real = fs::weakly_canonical(path, ignored).string();
  if (std::find(open_files_.begin(), open_files_.end(), real) != open_files_.end()) {
    return UsageError(included_from.Prefix(), "the flag file ", path, " includes itself");
  }
  absl::StatusOr<std::string> content = mixrec::ReadFile(path);
  if (!content.ok()) {
    return UsageError(included_from.Prefix(), "--flagfile: ", StatusText(content.status()));
  }
  open_files_.push_back(real);
  std::istringstream lines(*content);
  std::string line;
  for (FlagOrigin origin{path, 1}; std::getline(lines, line); ++origin.line) {
    MIXREC_RETURN_IF_ERROR(ReadLine(line, origin));
  }
  open_files_.pop_back();
  return absl::OkStatus();
}

absl::Status Reader::ReadLine(const std::string& line, const FlagOrigin& origin) {
  MIXREC_ASSIGN_OR_RETURN(WrittenFlag written, ParseFlagFileLine(line, origin.Prefix()));
  if (written.name.empty()) return absl::OkStatus();
  if (written.name == "flagfile") {
    if (written.value.empty()) return UsageError(origin.Prefix(), "--flagfile has no value");
    const fs::path folder = fs::path(origin.file).parent_path();
    return ReadFile((folder / written.value).string(), origin);  // an absolute path stays
  }
  MIXREC_ASSIGN_OR_RETURN(const Flag* flag, Resolve(&written, origin));
  if (!written.has_value && flag->type == FlagType::kBool) {
    written.value = "true";
  } else if (!written.has_value) {
    return UsageError(origin.Prefix(), "--", flag->name, " has no value; write --", flag->name,
                      "=VALUE");
  }
  return Assign(*flag, written, origin);
}

}  // namespace

absl::StatusOr<std::vector<FlagAssignment>> ReadFlags(const FlagTable& table, std::string_view verb,
                                                      const std::vector<std::string>& arguments) {
  Reader reader(table, verb);
  MIXREC_RETURN_IF_ERROR(reader.ReadArguments(arguments));
  return reader.Take();
}

absl::StatusOr<std::vector<FlagAssignment>> ReadFlagFile(const FlagTable& table,
                                                         std::string_view verb,
                                                         const std::string& path) {
  Reader reader(table, verb);
  MIXREC_RETURN_IF_ERROR(reader.ReadFile(path, FlagOrigin()));
  return reader.Take();
}

}  // namespace mixrec::launch
