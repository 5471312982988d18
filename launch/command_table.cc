#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/file.h"
#include "common/log.h"
#include "launch/commands.h"
#include "launch/flag_line.h"
#include "launch/flags.h"
#include "launch/flags_table.h"
#include "launch/options.h"
#include "launch/run_folder.h"
#include "launch/table_report.h"

namespace mixrec::launch {
namespace {

// How a row that ran is told: its figures, or what was wrong.
std::string Told(const RowRecord& record) {
  if (record.state != RowState::kFinished) return record.reason;
  std::string text;
  for (const auto& evaluation : record.evaluations) {
    if (evaluation.at("split") != "test") continue;
    text += StrCat(text.empty() ? "test NDCG@10 " : ", ",
                   absl::StrFormat("%.4f ", evaluation.at("metrics").at("NDCG@10").get<double>()),
                   evaluation.at("protocol").at("seen_items").get<std::string>());
  }
  return text;
}

class Table {
 public:
  Table(const TablePlan& plan, std::ostream& out) : plan_(plan), out_(out) {
    for (const TableRow& row : plan.rows) {
      records_.push_back(ReadRow(row));
      if (!IsDone(row, records_.back())) to_do_.push_back(records_.size() - 1);
    }
  }

  absl::Status Run(const std::vector<std::string>& devices) {
    MIXREC_RETURN_IF_ERROR(MakeFolder(StrCat(FLAGS_out, "/logs")));
    MIXREC_RETURN_IF_ERROR(WriteSystemFlags(plan_));
    out_ << plan_.rows.size() << " rows, " << plan_.rows.size() - to_do_.size()
         << " finished before; " << FLAGS_jobs << " at a time"
         << (devices.empty() ? "" : StrCat(" on GPUs ", absl::StrJoin(devices, ","))) << std::endl;
    std::vector<Task> tasks;
    if (plan_.searches) tasks.push_back(SearchTask(plan_));
    const size_t before = tasks.size();
    for (const size_t row : to_do_) tasks.push_back(RowTask(plan_, plan_.rows[row]));
    TaskOptions options;
    options.jobs = static_cast<int>(FLAGS_jobs);
    options.devices = devices;
    const auto on_end = [&](size_t task, const absl::Status& outcome, double seconds) {
      if (task >= before) return EndRow(to_do_[task - before], outcome, seconds);
      out_ << tasks[task].name << ": " << (outcome.ok() ? "done" : StatusText(outcome))
           << absl::StrFormat(" (%.0f s)", seconds) << std::endl;
      return absl::OkStatus();
    };
    const absl::Status ran = to_do_.empty() ? absl::OkStatus() : RunTasks(tasks, options, on_end);
    MIXREC_ASSIGN_OR_RETURN(const TableResult result, Collect(plan_, records_));
    MIXREC_RETURN_IF_ERROR(WriteTable(result, FLAGS_out));
    MIXREC_RETURN_IF_ERROR(ran);
    return Conclude(result);
  }

 private:
  // Whether the row has been finished with the flags that it has now.
  bool IsDone(const TableRow& row, const RowRecord& record) const {
    if (record.state != RowState::kFinished) return false;
    const absl::StatusOr<FlagValues> flags = ResolvedFlags(plan_, row);
    return flags.ok() && *flags == record.flags;
  }

  absl::Status EndRow(size_t index, const absl::Status& outcome, double seconds) {
    const TableRow& row = plan_.rows[index];
    RowRecord& record = records_[index];
    record.seconds += seconds;
    record.flags = ResolvedFlags(plan_, row).value_or(row.flags);
    const absl::Status taken = outcome.ok() ? TakeResults(row, &record) : outcome;
    record.reason = taken.ok() ? "" : StatusText(taken);
    record.state = taken.ok()                   ? RowState::kFinished
                   : absl::IsCancelled(outcome) ? RowState::kStopped
                                                : RowState::kFailed;
    const char* mark = record.state == RowState::kFinished  ? ""
                       : record.state == RowState::kStopped ? "stopped: "
                                                            : "FAILED: ";
    ++ended_;
    out_ << absl::StrFormat("[%d/%d] %s: %s%s (%.0f s)", ended_, to_do_.size(), row.name, mark,
                            Told(record), seconds)
         << std::endl;
    return WriteRow(row, plan_, record);
  }

  absl::Status Conclude(const TableResult& result) {
    out_ << "\n"
         << Markdown(result) << "\ntable: " << FLAGS_out << "/table.html, table.md, "
         << "table.tsv, table.jsonl" << std::endl;
    size_t unfinished = 0;
    for (const SystemResult& system : result.systems) unfinished += system.unfinished.size();
    if (unfinished == 0) return absl::OkStatus();
    return FailureError(unfinished, " of ", plan_.rows.size(), " rows have no result (", FLAGS_out,
                        "/table.md says why); the same command tries them again");
  }

  const TablePlan& plan_;
  std::ostream& out_;
  std::vector<RowRecord> records_;
  std::vector<size_t> to_do_;
  size_t ended_ = 0;
};

absl::Status CheckInputs() {
  MIXREC_RETURN_IF_ERROR(RequireFlag("data", FLAGS_data));
  MIXREC_RETURN_IF_ERROR(RequireFlag("backbone", FLAGS_backbone));
  return RequireFlag("out", FLAGS_out);
}

void PrintPlan(const TablePlan& plan, std::ostream& out) {
  const auto print = [&](const Task& task) {
    for (const CommandMaker& command : task.commands) {
      const auto words = command();
      out << "  "
          << (words.ok() ? StrCat("mixrec ", absl::StrJoin(*words, " "))
                         : StrCat("(", StatusText(words.status()), ")"))
          << "\n";
    }
  };
  if (plan.searches) {
    out << "the search\n";
    print(SearchTask(plan));
  }
  for (const TableRow& row : plan.rows) {
    out << row.name << ": " << plan.systems[row.system].title << "\n";
    print(RowTask(plan, row));
  }
  out << "rows: " << plan.rows.size() << std::endl;
}

}  // namespace

absl::Status RunTable(const Invocation& invocation) {
  MIXREC_RETURN_IF_ERROR(CheckInputs());
  MIXREC_ASSIGN_OR_RETURN(const TablePlan plan, MakeTablePlan(invocation));
  if (FLAGS_dry_run) {
    PrintPlan(plan, *invocation.out);
    return absl::OkStatus();
  }
  MIXREC_ASSIGN_OR_RETURN(const std::vector<std::string> devices, DevicesOfFlags());
  RunRequest request;
  request.folder = FLAGS_out;
  request.verb = invocation.verb->name;
  request.arguments = invocation.arguments;
  request.flags = invocation.values;
  MIXREC_ASSIGN_OR_RETURN(RunFolder run, RunFolder::Open(request));
  return run.Close(Table(plan, *invocation.out).Run(devices));
}

}  // namespace mixrec::launch
