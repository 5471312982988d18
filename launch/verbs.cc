#include "launch/verbs.h"

#include <gflags/gflags.h>

#include <algorithm>

#include "common/log.h"
#include "launch/flag_ranges.h"

namespace mixrec::launch {
namespace {

using Names = std::vector<std::string>;

FlagGroup DataGroup() {
  return {"Data",
          {"data", "tokenizer", "item_fields", "title_field", "min_item_interactions", "max_items",
           "max_item_tokens"}};
}

FlagGroup ModelGroup(bool with_architecture) {
  FlagGroup group{"Model", {"backbone", "mode"}};
  if (with_architecture) group.flags.push_back("architecture");
  const Names rest{"replace_every", "bottleneck", "adapter_act", "parallel_form", "parallel_scale",
                   "inject",        "dropout",    "cf_model",    "cf_gmf",        "cf_mlp",
                   "cf_hidden",     "cf_mf",      "item_init"};
  group.flags.insert(group.flags.end(), rest.begin(), rest.end());
  if (with_architecture) group.flags.insert(group.flags.end(), {"cf_training", "cf"});
  return group;
}

FlagGroup LossGroup() {
  return {"Losses",
          {"lambda_align", "lambda_cl", "lambda_cf", "tau", "n_s", "n_cl", "hard_samples"}};
}

FlagGroup OptimiserGroup(bool with_epochs) {
  FlagGroup group{"Optimisation", {}};
  if (with_epochs) group.flags.push_back("epochs");
  for (const char* name : {"batch", "lr", "warmup_fraction", "weight_decay", "clip_norm", "seed"}) {
    group.flags.push_back(name);
  }
  return group;
}

FlagGroup ServersGroup(const Names& more = {}) {
  FlagGroup group{"Parameter servers", {"ps", "ps_key_file", "ps_deadline"}};
  group.flags.insert(group.flags.end(), more.begin(), more.end());
  return group;
}

// Of the commands that many processes run together.
FlagGroup RanksGroup(const Names& more = {}) {
  FlagGroup group{"Ranks under mpirun", {"rank_deadline"}};
  group.flags.insert(group.flags.end(), more.begin(), more.end());
  return group;
}

FlagGroup MachineGroup(const Names& first = {}) {
  FlagGroup group{"Machine", first};
  for (const char* name : {"device", "precision", "threads", "log_level"}) {
    group.flags.push_back(name);
  }
  return group;
}

FlagGroup RunGroup() {
  return {"Run",
          {"out", "resume", "resume_allow", "keep_last", "checkpoint_steps", "checkpoint_minutes",
           "log_steps", "tensorboard", "dry_run", "max_walltime", "stop_signal",
           "simulate_preemption", "profile"}};
}

Verb Synth() {
  return {"synth",
          "--out=DIR [--user_count=1000 --item_count=400]",
          "write a synthetic data set with brands, categories, drifting tastes and bundles",
          "Writes DIR/NAME.inter and DIR/NAME.item in RecBole's atomic format; the same flags give "
          "the same files.",
          {{"Data set", {"out", "user_count", "item_count", "mean_length", "raw", "seed"}},
           {"Machine", {"log_level"}}},
          {}};
}

Verb Prepare() {
  return {"prepare",
          "--reviews=X.json.gz --meta=meta_X.json.gz --out=DIR",
          "make a data set of Amazon's raw files; with --data, check and describe one",
          "Reads the 2018 files of a category as they are downloaded and writes DIR/NAME.inter and "
          "DIR/NAME.item in RecBole's atomic format. Broken lines are counted. "
          "`mixrec prepare --data=DIR` reads a data set as training would and prints what it is.",
          {{"Raw files", {"reviews", "meta", "max_broken"}},
           {"Filter", {"k_core", "min_item_interactions", "min_user_interactions"}},
           {"Output", {"out", "name"}},
           {"Check", {"data", "item_fields", "title_field"}},
           {"Machine", {"log_level"}}},
          {}};
}

Verb Pretrain() {
  return {"pretrain",
          "--data=DIR --tokenizer=train:4000 --out=DIR",
          "train a small OPT language model on the items' text, for want of a checkpoint",
          "Writes config.json, model.safetensors, vocab.json and merges.txt in the Hugging Face "
          "layout. A stopped pre-training goes on with the same command. --epochs=0 writes random "
          "weights, with --shape of a published size.",
          {{"Data",
            {"data", "tokenizer", "item_fields", "title_field", "min_item_interactions",
             "text_fields", "extra_text", "description_pieces"}},
           {"Language model", {"hidden", "layers", "heads", "ffn", "context", "shape", "dtype"}},
           {"Optimisation",
            {"epochs", "batch", "lr", "weight_decay", "clip_norm", "dropout", "offset_probability",
             "seed"}},
           {"Distillation",
            {"distill", "distill_words", "distill_sequences", "distill_texts", "distill_weight",
             "distill_contrast", "distill_temperature", "bert_tokens", "description_field"}},
           {"Run", {"out", "dry_run"}},
           MachineGroup()},
          {{"min_item_interactions", "1"},
           {"epochs", "20"},
           {"batch", "16"},
           {"lr", "0.001"},
           {"weight_decay", "0.1"},
           {"clip_norm", "1"},
           {"dropout", "0.1"}}};
}

Verb Mine() {
  return {"mine",
          "--data=DIR --bert=DIR --out=DIR",
          "find every item's hard samples, and vectors for distillation",
          "Hard samples are the nearest items by BERT's vectors and by matrix factorisation that "
          "never co-occur with the item. Writes DIR/hard_samples.bin for --hard_samples of train "
          "and search; a stopped mining goes on with the same command. --vectors_out=FILE writes "
          "what `mixrec pretrain --distill=FILE` needs instead of an encoder.",
          {{"Data",
            {"data", "item_fields", "title_field", "min_item_interactions", "description_field",
             "extra_text", "description_pieces"}},
           {"Mining",
            {"bert", "bert_tokens", "mf_dim", "mf_iterations", "top_fraction", "max_neighbours",
             "seed"}},
           {"Output", {"out", "vectors_out"}},
           MachineGroup()},
          {}};
}

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

Verb Train() {
  return {"train",
          "--data=DIR --backbone=DIR --out=RUN [--architecture=BITS]",
          "train one model",
          "Keeps the best checkpoint by validation MRR and the latest ones. Ctrl-C and SIGTERM "
          "save and exit with code 75; the same command goes on. By mpirun, on many hosts and with "
          "servers: docs/distributed.md.",
          {DataGroup(), ModelGroup(true), LossGroup(), OptimiserGroup(true), RunGroup(),
           ServersGroup({"consistency", "staleness", "sampled_softmax", "sampled_proposal"}),
           RanksGroup(), MachineGroup()},
          {}};
}

Verb TrainCf() {
  return {"train-cf",
          "--data=DIR --out=DIR [--cf_model=mf]",
          "train the collaborative filtering model by itself",
          "Trains NCF or MF with the BPR loss and writes DIR/cf.safetensors, for `mixrec train "
          "--cf_training=frozen --cf=DIR` with the same widths.",
          {{"Data", {"data", "item_fields", "title_field", "min_item_interactions"}},
           {"Model", {"cf_model", "cf_gmf", "cf_mlp", "cf_hidden", "cf_mf"}},
           {"Optimisation", {"epochs", "batch", "lr", "warmup_fraction", "weight_decay", "seed"}},
           {"Output", {"out"}},
           MachineGroup()},
          {{"batch", "64"}, {"lr", "0.001"}}};
}

Verb Evaluate() {
  return {
      "evaluate",
      "--run=RUN [--split=test]",
      "rank all items for every user and print NDCG, Recall and MRR",
      "The last line of stdout is one JSON object with the metrics and the protocol. Data and "
      "backbone come from RUN/run.json; --data and --backbone override the paths, and other "
      "content than the run's stops the program.",
      {{"Evaluation", {"run", "split", "checkpoint", "mask_seen", "all", "json_out", "ranks_out"}},
       {"Places", {"data", "backbone", "tokenizer"}},
       ServersGroup(),
       RanksGroup(),
       MachineGroup()},
      {}};
}

Verb Table() {
  FlagGroup model = ModelGroup(true);
  model.flags.erase(std::find(model.flags.begin(), model.flags.end(), "architecture"));
  return {"table",
          "--data=DIR --backbone=DIR --systems=named --seeds=3 --out=DIR",
          "train, evaluate and compare many systems over seeds",
          "A system is a flag file (configs/variations) that is laid over the flags given here. "
          "Every system and seed is a run in OUT/runs, several at the same time with --jobs; what "
          "fails is reported and the others go on. Stop it at any moment; the same command goes "
          "on. Ends with OUT/table.md, table.html, table.tsv and table.jsonl: means and spreads, "
          "with seen items kept and masked.",
          {{"Table", {"systems", "variations", "seeds", "jobs", "devices", "study", "out"}},
           {"Search", {"trials", "trial_epochs", "bo_fraction", "method"}},
           DataGroup(),
           std::move(model),
           LossGroup(),
           OptimiserGroup(true),
           {"Run", {"keep_last", "tensorboard", "dry_run"}},
           MachineGroup()},
          {{"seeds", "3"}}};
}

Verb Recommend() {
  return {"recommend",
          "--run=RUN --users=ID,ID --k=10",
          "print recommendations as JSON lines",
          "One line a user with item ids, titles and scores, from the whole history; items of the "
          "history are left out unless --keep_seen. --history serves users never seen in "
          "training.",
          {{"Users", {"run", "checkpoint", "users", "users_file", "history", "k", "keep_seen"}},
           {"Places", {"data", "backbone", "tokenizer"}},
           ServersGroup(),
           RanksGroup(),
           MachineGroup()},
          {}};
}

Verb Export() {
  return {"export",
          "--run=RUN --out=DIR",
          "write a trained model as a folder that stands alone",
          "DIR holds the backbone in the Hugging Face layout, the checkpoint, the data files, the "
          "item embeddings (item_embeddings.npy, item_bias.npy, items.tsv) and a run.json with "
          "paths inside DIR: recommend and evaluate take it as --run, wherever it is moved.",
          {{"Export", {"run", "checkpoint", "out"}},
           {"Places", {"data", "backbone", "tokenizer"}},
           MachineGroup()},
          {}};
}

Verb BenchStep() {
  return {
      "bench step",
      "[--shape=opt-125m]",
      "time the train step: tokens/s and useful GFLOP/s beside sgemm's",
      "On random weights and the batches of --data, or of a synthetic data set; one JSON line a "
      "shape.",
      {{"Step",
        {"shape", "data", "tokenizer", "batch", "n_cl", "seconds", "seed", "profile",
         "candidates"}},
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

Verb Doctor() {
  return {"doctor",
          "[--out=DIR]",
          "look at the machine: GPUs, threads, memory, write access, free space, versions",
          "",
          {{"What to look at", {"out", "log_level"}}},
          {}};
}

FlagType TypeOf(const gflags::CommandLineFlagInfo& info) {
  if (info.type == "bool") return FlagType::kBool;
  if (info.type == "int64") return FlagType::kInteger;
  if (info.type == "double") return FlagType::kReal;
  CHECK_EQ(info.type, "string") << "--" << info.name << " has a type the reader does not know";
  return FlagType::kText;
}

Flag DescribeFlag(const std::string& name) {
  gflags::CommandLineFlagInfo info;
  CHECK(gflags::GetCommandLineFlagInfo(name.c_str(), &info)) << "--" << name << " is not defined";
  Flag flag{name, TypeOf(info), info.default_value, info.description, RangeOf(name), {}};
  flag.default_value = CanonicalText(flag, info.default_value);  // gflags says 0.059999999999999998
  return flag;
}

}  // namespace

std::vector<Verb> Verbs() {
  return {Synth(),          Prepare(),   Pretrain(),   Mine(),     Search(),      Scheduler(),
          Worker(),         Train(),     TrainCf(),    Evaluate(), Table(),       Recommend(),
          Export(),         BenchStep(), BenchScore(), BenchBo(),  BenchSearch(), BenchPs(),
          BenchAllreduce(), Ps(),        Status(),     Doctor()};
}

const Verb* FindVerb(const std::vector<Verb>& verbs, std::string_view name) {
  for (const Verb& verb : verbs) {
    if (verb.name == name) return &verb;
  }
  return nullptr;
}

FlagTable MakeFlagTable(const std::vector<Verb>& verbs, std::string_view verb_name) {
  FlagTable table;
  for (const Verb& verb : verbs) {
    for (const FlagGroup& group : verb.groups) {
      for (const std::string& name : group.flags) {
        const Flag* known = table.Find(name);
        Flag flag = known != nullptr ? *known : DescribeFlag(name);
        flag.verbs.push_back(verb.name);
        table.Add(std::move(flag));
      }
    }
  }
  const Verb* verb = FindVerb(verbs, verb_name);
  CHECK(verb != nullptr) << "no command " << std::string(verb_name);
  for (const auto& [name, value] : verb->defaults) {
    Flag flag = *table.Find(name);
    flag.default_value = value;
    table.Add(std::move(flag));
  }
  return table;
}

}  // namespace mixrec::launch
