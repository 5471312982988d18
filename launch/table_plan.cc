#include "launch/table_plan.h"

#include <algorithm>
#include <filesystem>
#include <thread>

#include "common/file.h"
#include "launch/flag_reader.h"
#include "launch/flags.h"
#include "launch/flags_cf.h"
#include "launch/flags_table.h"

namespace mixrec::launch {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMachine[] = {"device", "precision", "threads", "log_level"};
constexpr const char* kOwn[] = {"out", "dry_run", "seed", "max_walltime", "stop_signal"};
constexpr const char* kPaths[] = {"data", "backbone", "tokenizer", "hard_samples", "cf"};

bool IsOneOf(const std::string& name, const char* const* begin, const char* const* end) {
  return std::any_of(begin, end, [&](const char* other) { return name == other; });
}

// What was given and `verb` takes, but for where it runs, its seed and when the table is to stop;
// paths absolute.
FlagValues GivenFor(const Invocation& invocation, const char* verb) {
  FlagValues values;
  for (const auto& [name, value] : invocation.given) {
    if (!invocation.table->Takes(verb, name) || IsOneOf(name, std::begin(kOwn), std::end(kOwn)) ||
        IsOneOf(name, std::begin(kMachine), std::end(kMachine))) {
      continue;
    }
    const bool path = IsOneOf(name, std::begin(kPaths), std::end(kPaths)) && !value.empty();
    values[name] = path ? fs::absolute(value).string() : value;
  }
  return values;
}

// What says where the commands run. The threads of all jobs together are those of the machine.
FlagValues MachineFlags(const Invocation& invocation) {
  FlagValues values;
  for (const char* name : kMachine) {
    if (invocation.IsGiven(name)) values[name] = invocation.given.at(name);
  }
  const auto cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  if (values.count("threads") == 0) {
    values["threads"] = StrCat(std::max<int64_t>(1, cores / FLAGS_jobs));
  }
  return values;
}

std::vector<std::string> Words(const std::string& verb, const FlagValues& flags) {
  std::vector<std::string> words{verb};
  for (const auto& [name, value] : flags) words.push_back(StrCat("--", name, "=", value));
  return words;
}

FlagValues With(FlagValues flags, const FlagValues& more) {
  for (const auto& [name, value] : more) flags[name] = value;
  return flags;
}

// Those of a row's flags that another verb takes.
FlagValues For(const char* verb, const FlagValues& flags) {
  const FlagTable table = MakeFlagTable(Verbs(), verb);
  FlagValues values;
  for (const auto& [name, value] : flags) {
    if (table.Takes(verb, name)) values[name] = value;
  }
  return values;
}

std::string ValueOf(const FlagValues& flags, const std::string& name) {
  const auto found = flags.find(name);
  return found == flags.end() ? "" : found->second;
}

// `mixrec train-cf` keeps its own --batch, --lr, --epochs and schedule: the row's are the model's.
FlagValues CfFlags(const TableRow& row) {
  FlagValues values = For("train-cf", row.flags);
  for (const char* name : {"batch", "lr", "epochs", "warmup_fraction", "weight_decay"}) {
    values.erase(name);
  }
  return values;
}

bool NeedsCf(const TableRow& row) {
  return ValueOf(row.flags, "cf_training") == "frozen" && ValueOf(row.flags, "cf").empty();
}

std::string CfFolder(const TablePlan& plan, const TableRow& row) {
  return StrCat(FLAGS_out, "/cf/", plan.systems[row.system].name, ".seed-", row.seed);
}

absl::StatusOr<std::vector<std::string>> TrainWords(const TablePlan& plan, const TableRow& row) {
  MIXREC_ASSIGN_OR_RETURN(FlagValues flags, ResolvedFlags(plan, row));
  flags = With(flags, plan.machine);
  flags["out"] = row.folder;
  if (NeedsCf(row)) flags["cf"] = CfFolder(plan, row);
  return Words("train", flags);
}

void AddRows(const Invocation& invocation, TablePlan* plan) {
  const FlagValues base = GivenFor(invocation, "train");
  for (size_t index = 0; index < plan->systems.size(); ++index) {
    const TableSystem& system = plan->systems[index];
    for (int64_t seed = FLAGS_seed; seed < FLAGS_seed + system.seeds; ++seed) {
      TableRow row;
      row.system = index;
      row.seed = seed;
      row.name = StrCat(system.name, " seed ", seed);
      row.folder = StrCat(FLAGS_out, "/runs/", system.name, "/seed-", seed);
      row.flags = With(base, system.flags);
      row.flags["seed"] = StrCat(seed);
      plan->rows.push_back(std::move(row));
    }
  }
}

}  // namespace

absl::StatusOr<TablePlan> MakeTablePlan(const Invocation& invocation) {
  TablePlan plan;
  const FlagTable train = MakeFlagTable(Verbs(), "train");
  MIXREC_ASSIGN_OR_RETURN(
      plan.systems,
      FindSystems(train, FLAGS_systems, VariationsFolder(FLAGS_variations), FLAGS_seeds));
  AddRows(invocation, &plan);
  plan.machine = MachineFlags(invocation);
  plan.search = GivenFor(invocation, "search");
  plan.search["seed"] = StrCat(FLAGS_seed);
  const auto searched = [](const TableRow& row) {
    return ValueOf(row.flags, "architecture") == kSearched;
  };
  plan.searches = FLAGS_study.empty() && std::any_of(plan.rows.begin(), plan.rows.end(), searched);
  plan.study = FLAGS_study.empty() ? StrCat(FLAGS_out, "/search") : FLAGS_study;
  if (!FLAGS_study.empty()) MIXREC_RETURN_IF_ERROR(SearchedArchitecture(plan).status());
  return plan;
}

absl::StatusOr<std::string> SearchedArchitecture(const TablePlan& plan) {
  const std::string path = StrCat(plan.study, "/best.flags");
  MIXREC_ASSIGN_OR_RETURN(const auto flags,
                          ReadFlagFile(MakeFlagTable(Verbs(), "train"), "train", path));
  for (const FlagAssignment& flag : flags) {
    if (flag.name == "architecture") return flag.value;
  }
  return DataError(path, " has no --architecture");
}

absl::StatusOr<FlagValues> ResolvedFlags(const TablePlan& plan, const TableRow& row) {
  FlagValues flags = row.flags;
  if (ValueOf(flags, "architecture") == kSearched) {
    MIXREC_ASSIGN_OR_RETURN(flags["architecture"], SearchedArchitecture(plan));
  }
  return flags;
}

absl::Status WriteSystemFlags(const TablePlan& plan) {
  MIXREC_RETURN_IF_ERROR(MakeFolder(StrCat(FLAGS_out, "/systems")));
  for (const TableRow& row : plan.rows) {
    if (row.seed != FLAGS_seed) continue;
    const TableSystem& system = plan.systems[row.system];
    std::string text = StrCat("# ", system.title, "\n");
    for (const auto& [name, value] : row.flags) {
      if (name != "seed") text += StrCat(FlagFileLine(name, value), "\n");
    }
    MIXREC_RETURN_IF_ERROR(
        WriteFileAtomic(StrCat(FLAGS_out, "/systems/", system.name, ".flags"), text));
  }
  return absl::OkStatus();
}

std::string EvaluationFile(const TableRow& row) { return StrCat(row.folder, "/evaluation.jsonl"); }

Task RowTask(const TablePlan& plan, const TableRow& row) {
  Task task;
  task.name = row.name;
  task.log = StrCat(FLAGS_out, "/logs/", plan.systems[row.system].name, ".seed-", row.seed, ".log");
  if (NeedsCf(row) && !PathExists(StrCat(CfFolder(plan, row), "/cf.safetensors"))) {
    task.commands.push_back([&plan, &row]() -> absl::StatusOr<std::vector<std::string>> {
      return Words("train-cf", With(With(CfFlags(row), For("train-cf", plan.machine)),
                                    {{"out", CfFolder(plan, row)}}));
    });
  }
  task.commands.push_back([&plan, &row] { return TrainWords(plan, row); });
  task.commands.push_back([&plan, &row]() -> absl::StatusOr<std::vector<std::string>> {
    FlagValues flags = plan.machine;
    flags["run"] = row.folder;
    flags["all"] = "true";
    flags["json_out"] = EvaluationFile(row);
    return Words("evaluate", flags);
  });
  if (plan.searches && ValueOf(row.flags, "architecture") == kSearched) task.after = 0;
  return task;
}

Task SearchTask(const TablePlan& plan) {
  Task task;
  task.name = "the search";
  task.log = StrCat(FLAGS_out, "/logs/search.log");
  task.commands.push_back([&plan]() -> absl::StatusOr<std::vector<std::string>> {
    FlagValues flags = With(plan.search, plan.machine);
    flags["out"] = plan.study;
    return Words("search", flags);
  });
  return task;
}

}  // namespace mixrec::launch
