// Commands that train models and use them.
#include <algorithm>
#include <utility>

#include "launch/verb_groups.h"

namespace mixrec::launch {
namespace {

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
           {"Run", {"keep_last", "tensorboard", "dry_run", "max_walltime", "stop_signal"}},
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

}  // namespace

std::vector<Verb> TrainingVerbs() {
  return {Train(), TrainCf(), Evaluate(), Table(), Recommend(), Export()};
}

}  // namespace mixrec::launch
