// Commands that serve tables, and those that measure or look at the machine.
#include "launch/verb_groups.h"

namespace mixrec::launch {
namespace {

Verb Ps() {
  return {"ps",
          "[--shards=3 --replicas=1 --listen=HOST:PORT]",
          "parameter servers: shards that hold the tables of `mixrec train --ps`",
          "Starts the shard processes of this host and starts them again when they die. Prints a "
          "line when they are ready, then a JSON line at every change. Ctrl-C ends all. Several "
          "hosts, keys and failures: docs/servers.md.",
          {{"Servers", {"listen", "shards", "sockets", "replicas", "state", "join", "spawn"}},
           {"Security", {"key_file", "insecure"}},
           {"Failures", {"heartbeat_seconds", "dead_seconds", "orphan_seconds"}},
           RanksGroup({"network"}),
           {"Machine", {"device", "threads", "log_level"}},
           {"Internal", {"authority", "incarnation", "parent", "gpu", "stop_signal"}}},
          {{"device", "cpu"}}};
}

Verb BenchStep() {
  return {
      "bench step",
      "[--shape=opt-125m]",
      "time the train step: tokens/s and useful GFLOP/s beside sgemm's",
      "On random weights and the batches of --data, or of a synthetic data set; one JSON line a "
      "shape.",
      {{"Step",
        {"shape", "data", "tokenizer", "batch", "n_cl", "seconds", "seed", "profile", "candidates",
         "pad_steps"}},
       RanksGroup(),
       MachineGroup()},
      {{"batch", "8"}}};
}

Verb BenchScore() {
  return {
      "bench score",
      "[--shape=opt-125m]",
      "time scoring: users/s with whole histories and all items ranked",
      "On random weights and the users of --data, or of a synthetic data set; one JSON line a "
      "shape.",
      {{"Scoring", {"shape", "data", "tokenizer", "seconds", "seed", "profile"}}, MachineGroup()},
      {}};
}

Verb BenchBo() {
  return {"bench bo",
          "--problem=arch --instance=2001 --seed=20 --method=auto",
          "one run of the search on a test problem, as one JSON line",
          "--check prints the problems' values at given points instead, --table the scores of all "
          "problems and methods (or of those given), --cost the seconds of a suggestion.",
          {{"Problem",
            {"problem", "instance", "seed", "method", "groups", "evaluations", "check", "table",
             "seeds", "cost"}},
           {"Machine", {"log_level"}}},
          {{"seed", "20"}}};
}

Verb BenchSearch() {
  return {"bench search",
          "[--groups=4 --trials=32]",
          "what a search by several groups gains over one group, with trials that sleep",
          "Searches with one group, then with --groups, each a real scheduler and real groups in "
          "processes of their own; a JSON line each, then the speed-up.",
          {{"Search", {"groups", "slots", "trials", "trial_seconds", "method", "seed"}},
           {"Machine", {"log_level"}}},
          {{"groups", "4"}, {"trials", "32"}, {"log_level", "warning"}}};
}

Verb BenchPs() {
  return {
      "bench ps",
      "",
      "the parameter server's traffic beside plain libzmq's, its softmax beside sgemm",
      "Starts workers and shards on this host, in turns with processes that move the same bytes "
      "by libzmq alone; a JSON line for each traffic, for the softmax and for an idle shard.",
      {{"Measurement", {"seconds", "rounds"}}, {"Machine", {"device", "threads", "log_level"}}},
      {{"seconds", "0.5"}, {"device", "cpu"}, {"threads", "1"}, {"log_level", "error"}}};
}

Verb BenchAllreduce() {
  return {
      "bench allreduce",
      "",
      "time sums over the ranks of an mpirun beside MPI_Allreduce's",
      "mpirun -n 4 mixrec bench allreduce prints a JSON line a size.",
      {{"Measurement", {"seconds"}}, RanksGroup(), {"Machine", {"device", "threads", "log_level"}}},
      {{"seconds", "0.5"}, {"device", "cpu"}, {"threads", "1"}, {"log_level", "error"}}};
}

Verb Doctor() {
  return {"doctor",
          "[--out=DIR]",
          "look at the machine: GPUs, threads, memory, write access, free space, versions",
          "",
          {{"What to look at", {"out", "log_level"}}},
          {}};
}

}  // namespace

std::vector<Verb> MachineVerbs() {
  return {Ps(),          BenchStep(), BenchScore(),     BenchBo(),
          BenchSearch(), BenchPs(),   BenchAllreduce(), Doctor()};
}

}  // namespace mixrec::launch
