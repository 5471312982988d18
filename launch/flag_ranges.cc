#include "launch/flag_ranges.h"

#include <map>
#include <utility>

namespace mixrec::launch {
namespace {

FlagRange AtLeast(double low) {
  FlagRange range;
  range.low = low;
  return range;
}

FlagRange Positive() {
  FlagRange range = AtLeast(0);
  range.low_open = true;
  return range;
}

// [0, 1), or (0, 1].
FlagRange Share(bool with_one) {
  FlagRange range = AtLeast(0);
  range.high = 1;
  range.low_open = with_one;
  range.high_open = !with_one;
  return range;
}

FlagRange OneOf(std::vector<std::string> choices) {
  FlagRange range;
  range.choices = std::move(choices);
  return range;
}

std::map<std::string_view, FlagRange> Ranges() {
  FlagRange closed_share = AtLeast(0);
  closed_share.high = 1;
  std::map<std::string_view, FlagRange> ranges{
      {"device", OneOf({"auto", "cpu", "cuda"})},
      {"precision", OneOf({"auto", "fp32", "bf16"})},
      {"log_level", OneOf({"info", "warning", "error"})},
      {"stop_signal", OneOf({"USR1", "USR2", "HUP"})},
      {"mode", OneOf({"mixrec", "base", "llmrec", "moe"})},
      {"adapter_act", OneOf({"none", "relu", "gelu"})},
      {"parallel_form", OneOf({"literal", "scaled"})},
      {"parallel_scale", Positive()},
      {"inject", OneOf({"none", "user", "item", "user,item"})},
      {"cf_model", OneOf({"ncf", "mf"})},
      {"cf_training", OneOf({"joint", "frozen"})},
      {"item_init", OneOf({"random", "states"})},
      {"dtype", OneOf({"fp32", "fp16", "bf16"})},
      {"pad_steps", OneOf({"gpu", "always", "never"})},
      {"split", OneOf({"validation", "test"})},
      {"checkpoint", OneOf({"best", "last"})},
      {"method", OneOf({"auto", "pr", "local", "climb", "random"})},
      {"consistency", OneOf({"bsp", "ssp", "asp"})},
      {"sampled_proposal", OneOf({"uniform", "log_uniform"})},
      {"ps_deadline", Positive()},
      {"rank_deadline", Positive()},
      {"checkpoint_minutes", AtLeast(0)},
      {"checkpoint_steps", AtLeast(0)},
      {"log_steps", AtLeast(1)},
      {"replicas", closed_share},
      {"early_stop", OneOf({"none", "median", "asha"})},
      {"lease_seconds", Positive()},
      {"scheduler_deadline", Positive()},
      {"spawn", AtLeast(-1)},
      {"heartbeat_seconds", Positive()},
      {"dead_seconds", Positive()},
      {"orphan_seconds", AtLeast(0)},
      {"shards", AtLeast(0)},
      {"sockets", AtLeast(1)},
      {"rounds", AtLeast(1)},
      {"problem", OneOf({"nk2", "nk4", "arch", "contam"})},
      {"warmup_fraction", Share(false)},
      {"dropout", Share(false)},
      {"bo_fraction", Share(true)},
      {"top_fraction", Share(true)},
      {"max_broken", closed_share},
      {"k_core", AtLeast(0)},
      {"min_user_interactions", AtLeast(1)},
      {"offset_probability", closed_share},
      {"distill_temperature", Positive()},
      {"bert_tokens", AtLeast(2)},
      {"lr", Positive()},
      {"tau", Positive()},
      {"seconds", Positive()},
      {"trial_seconds", Positive()},
      {"sleep", AtLeast(0)},
      {"mean_length", AtLeast(5)},
  };
  for (std::string_view name : {"seed",
                                "threads",
                                "simulate_preemption",
                                "heads",
                                "ffn",
                                "n_cl",
                                "clip_norm",
                                "weight_decay",
                                "max_neighbours",
                                "description_pieces",
                                "distill_weight",
                                "distill_contrast",
                                "lambda_align",
                                "lambda_cl",
                                "lambda_cf",
                                "instance",
                                "epochs",
                                "staleness",
                                "sampled_softmax",
                                "drain_seconds",
                                "max_trial_retries",
                                "replicate_top",
                                "trial_memory_gib",
                                "trial_tflop"}) {
    ranges[name] = AtLeast(0);
  }
  for (std::string_view name : {"keep_last",
                                "min_item_interactions",
                                "max_items",
                                "max_item_tokens",
                                "user_count",
                                "item_count",
                                "replace_every",
                                "bottleneck",
                                "cf_gmf",
                                "cf_mlp",
                                "cf_mf",
                                "hidden",
                                "layers",
                                "batch",
                                "n_s",
                                "k",
                                "jobs",
                                "trials",
                                "trial_epochs",
                                "groups",
                                "slots",
                                "group_ranks",
                                "per_gpu",
                                "evaluations",
                                "candidates",
                                "steps",
                                "seeds",
                                "mf_dim",
                                "distill_sequences",
                                "distill_texts",
                                "mf_iterations"}) {
    ranges[name] = AtLeast(1);
  }
  return ranges;
}

}  // namespace

FlagRange RangeOf(std::string_view name) {
  const std::map<std::string_view, FlagRange> ranges = Ranges();
  const auto found = ranges.find(name);
  return found == ranges.end() ? FlagRange() : found->second;
}

}  // namespace mixrec::launch
