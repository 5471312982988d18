#include "launch/table_systems.h"

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "absl/strings/numbers.h"
#include "common/file.h"
#include "launch/flag_reader.h"
#include "launch/options.h"

namespace mixrec::launch {
namespace {

namespace fs = std::filesystem;

constexpr size_t kDeepest = 8;  // groups inside groups

// "NAME:3" as ("NAME", 3).
absl::Status SplitSeeds(const std::string& text, std::string* name, int64_t* seeds) {
  const size_t colon = text.rfind(':');
  *name = text.substr(0, colon);
  if (colon == std::string::npos) return absl::OkStatus();
  if (absl::SimpleAtoi(text.substr(colon + 1), seeds) && *seeds >= 1) return absl::OkStatus();
  return UsageError("--systems: \"", text, "\": expected NAME:SEEDS with a number of at least 1");
}

// The comment in a flag file's first line; its name when there is none.
std::string TitleOf(const std::string& path) {
  std::istringstream lines(ReadFile(path).value_or(""));
  std::string line;
  std::getline(lines, line);
  if (line.rfind("# ", 0) != 0) return fs::path(path).stem().string();
  line.erase(0, 2);
  if (!line.empty() && line.back() == '.') line.pop_back();
  return line;
}

class Finder {
 public:
  Finder(const FlagTable& table, std::string folder) : table_(table), folder_(std::move(folder)) {}

  absl::Status Add(const std::string& text, int64_t seeds, size_t depth) {
    std::string name;
    MIXREC_RETURN_IF_ERROR(SplitSeeds(text, &name, &seeds));
    if (PathExists(FileOf(name))) return AddFile(FileOf(name), seeds);
    const std::string group = StrCat(folder_, "/", name, ".group");
    if (PathExists(group)) return AddGroup(group, seeds, depth);
    if (PathExists(name) && !fs::is_directory(name)) return AddFile(name, seeds);
    return UsageError("--systems: there is no system \"", name, "\"; ", folder_, " has ", Known());
  }

  std::vector<TableSystem> Take() { return std::move(systems_); }

 private:
  std::string FileOf(const std::string& name) const { return StrCat(folder_, "/", name, ".flags"); }

  absl::Status AddFile(const std::string& path, int64_t seeds) {
    TableSystem system;
    system.name = fs::path(path).stem().string();
    system.title = TitleOf(path);
    system.seeds = seeds;
    const auto same = [&](const TableSystem& other) { return other.name == system.name; };
    if (std::any_of(systems_.begin(), systems_.end(), same)) return absl::OkStatus();
    MIXREC_ASSIGN_OR_RETURN(const auto flags, ReadFlagFile(table_, "train", path));
    for (const FlagAssignment& flag : flags) {
      system.flags[flag.name] = CanonicalText(*table_.Find(flag.name), flag.value);
    }
    systems_.push_back(std::move(system));
    return absl::OkStatus();
  }

  absl::Status AddGroup(const std::string& path, int64_t seeds, size_t depth) {
    if (depth == kDeepest) return UsageError(path, ": groups contain each other");
    MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      line = line.substr(0, line.find('#'));
      line.erase(std::remove_if(line.begin(), line.end(), [](char c) { return c <= ' '; }),
                 line.end());
      if (!line.empty()) MIXREC_RETURN_IF_ERROR(Add(line, seeds, depth + 1));
    }
    return absl::OkStatus();
  }

  std::string Known() const {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder_, error)) {
      const std::string ending = entry.path().extension().string();
      if (ending == ".flags" || ending == ".group") names.push_back(entry.path().stem().string());
    }
    std::sort(names.begin(), names.end());
    std::string text;
    for (const std::string& name : names) text += StrCat(text.empty() ? "" : ", ", name);
    return text.empty() ? "none" : text;
  }

  const FlagTable& table_;
  const std::string folder_;
  std::vector<TableSystem> systems_;
};

}  // namespace

absl::StatusOr<std::vector<TableSystem>> FindSystems(const FlagTable& table,
                                                     const std::string& list,
                                                     const std::string& folder, int64_t seeds) {
  Finder finder(table, folder);
  for (const std::string& text : SplitList(list)) {
    MIXREC_RETURN_IF_ERROR(finder.Add(text, seeds, 0));
  }
  std::vector<TableSystem> systems = finder.Take();
  if (systems.empty()) return UsageError("--systems names no system");
  return systems;
}

std::string VariationsFolder(const std::string& folder) {
  if (PathExists(folder) || fs::path(folder).is_absolute()) return folder;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path source = program.parent_path().parent_path().parent_path().parent_path();
  const fs::path beside = source / folder;
  return !error && PathExists(beside.string()) ? beside.string() : folder;
}

}  // namespace mixrec::launch
