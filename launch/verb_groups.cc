#include "launch/verb_groups.h"

namespace mixrec::launch {

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

FlagGroup ServersGroup(const Names& more) {
  FlagGroup group{"Parameter servers", {"ps", "ps_key_file", "ps_deadline"}};
  group.flags.insert(group.flags.end(), more.begin(), more.end());
  return group;
}

FlagGroup RanksGroup(const Names& more) {
  FlagGroup group{"Ranks under mpirun", {"rank_deadline"}};
  group.flags.insert(group.flags.end(), more.begin(), more.end());
  return group;
}

FlagGroup MachineGroup(const Names& first) {
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
           "simulate_preemption", "profile", "pad_steps"}};
}

}  // namespace mixrec::launch
