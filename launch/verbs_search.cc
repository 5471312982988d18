// Commands of the architecture search.
#include "launch/verb_groups.h"

namespace mixrec::launch {
namespace {

// What is searched, and how.
FlagGroup SearchGroup() {
  return {"Search",
          {"trials", "trial_epochs", "bo_fraction", "method", "early_stop", "space", "warm_start",
           "replicate_top", "trial_memory_gib", "trial_tflop"}};
}

FlagGroup LeaseGroup(const Names& first) {
  FlagGroup group{"Worker groups", first};
  for (const char* name :
       {"lease_seconds", "heartbeat_seconds", "max_trial_retries", "drain_seconds"}) {
    group.flags.push_back(name);
  }
  return group;
}

Verb Search() {
  return {
      "search",
      "--data=DIR --backbone=DIR --out=DIR --trials=30 [--groups=4] [--per_gpu=8]",
      "search for the best architecture of the DAMoE layers",
      "One trial after another, or --groups and --per_gpu at a time, or each by --group_ranks "
      "processes; every trial is stored in "
      "DIR/study.journal (Optuna's journal format) and has its run under DIR/trials. Stop it at "
      "any moment; the same command goes on. Ends with a table of the best trials, "
      "DIR/best.flags (for `mixrec train --flagfile`) and an HTML page.",
      {SearchGroup(),
       LeaseGroup({"groups", "group_ranks", "rank_deadline", "per_gpu", "devices", "http"}),
       DataGroup(),
       ModelGroup(false),
       LossGroup(),
       OptimiserGroup(false),
       ServersGroup({"shards"}),
       {"Run",
        {"out", "resume", "resume_allow", "dry_run", "max_walltime", "stop_signal",
         "simulate_preemption"}},
       MachineGroup()},
      {{"heartbeat_seconds", "5"}, {"shards", "0"}}};
}

Verb Scheduler() {
  return {
      "scheduler",
      "--study=DIR --data=DIR --backbone=DIR --trials=30 [--listen=HOST:PORT]",
      "the coordinator of a search whose trials worker groups take",
      "Proposes architectures, gives them to the groups that come (`mixrec worker`), and writes "
      "DIR/study.journal, its only state: killed at any moment, the same command goes on. "
      "docs/groups.md.",
      {{"Scheduler", {"study", "listen", "network", "key_file", "insecure", "http"}},
       SearchGroup(),
       LeaseGroup({"groups"}),
       DataGroup(),
       ModelGroup(false),
       LossGroup(),
       OptimiserGroup(false),
       ServersGroup(),
       {"Run", {"resume", "resume_allow", "max_walltime", "stop_signal"}},
       MachineGroup()},
      {{"listen", "auto"}, {"heartbeat_seconds", "5"}, {"device", "cpu"}}};
}

Verb Worker() {
  return {"worker",
          "--study=DIR | --scheduler=HOST:PORT",
          "a worker group: takes trials of a search, trains and scores them",
          "What to train it hears from the scheduler; give only what differs on this machine. May "
          "come at any time. Ctrl-C and SIGTERM save the trials, give them back and end with code "
          "75. By mpirun, several ranks train every trial together. docs/groups.md.",
          {{"Group",
            {"study", "scheduler", "key_file", "group", "slots", "scheduler_deadline",
             "max_walltime", "stop_signal"}},
           {"Places", {"data", "backbone", "tokenizer", "hard_samples"}},
           ServersGroup(),
           RanksGroup(),
           MachineGroup(),
           {"Internal", {"parent", "sleep"}}},
          {}};
}

Verb Status() {
  return {"status",
          "--study=DIR [--json] [--http=127.0.0.1:8080]",
          "how far a search is: trials by state, groups, best so far, time left",
          "Reads the study's journal; it may run on another machine, or be over. --json prints all "
          "there is for programs. --http serves the page with history, architectures, effects, "
          "curves and groups until Ctrl-C. --replay asks the search for every suggestion again.",
          {{"What to show", {"study", "json", "http", "replay", "log_level"}}},
          {}};
}

}  // namespace

std::vector<Verb> SearchVerbs() { return {Search(), Scheduler(), Worker(), Status()}; }

}  // namespace mixrec::launch
