#include "launch/options.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <cstdlib>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "launch/build_info.h"
#include "launch/flags.h"
#include "launch/flags_cf.h"
#include "launch/flags_table.h"

namespace mixrec::launch {
namespace {

absl::StatusOr<std::vector<int64_t>> HiddenWidths(const std::string& text) {
  std::vector<int64_t> widths;
  for (const std::string& part : SplitList(text)) {
    int64_t width = 0;
    if (!absl::SimpleAtoi(part, &width) || width < 1) {
      return UsageError("--cf_hidden=", text, ": expected whole numbers of at least 1, as 128,64");
    }
    widths.push_back(width);
  }
  if (widths.empty()) return UsageError("--cf_hidden is empty; expected widths as 128,64");
  return widths;
}

bool CudaIsUsable() { return ThisBuild().cuda && at::hasCUDA(); }

}  // namespace

absl::Status RequireFlag(const std::string& name, const std::string& value) {
  if (!value.empty()) return absl::OkStatus();
  return UsageError("--", name, " is missing");
}

std::vector<std::string> SplitList(const std::string& text) {
  std::vector<std::string> parts;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    const absl::string_view trimmed = absl::StripAsciiWhitespace(part);
    if (!trimmed.empty()) parts.emplace_back(trimmed);
  }
  return parts;
}

data::SynthOptions SynthOptionsOfFlags() {
  data::SynthOptions options;
  options.users = FLAGS_user_count;
  options.items = FLAGS_item_count;
  options.seed = static_cast<uint64_t>(FLAGS_seed);
  options.mean_length = FLAGS_mean_length;
  return options;
}

data::DatasetOptions DatasetOptionsOfFlags() {
  data::DatasetOptions options;
  options.folder = FLAGS_data;
  options.item_fields = SplitList(FLAGS_item_fields);
  options.title_field = FLAGS_title_field;
  options.min_item_interactions = FLAGS_min_item_interactions;
  return options;
}

data::CatalogueOptions CatalogueOptionsOfFlags() {
  data::CatalogueOptions options;
  options.max_item_tokens = static_cast<int>(FLAGS_max_item_tokens);
  return options;
}

absl::StatusOr<model::ModelOptions> ModelOptionsOfFlags() {
  model::ModelOptions options;
  MIXREC_ASSIGN_OR_RETURN(options.mode, model::ParseMode(FLAGS_mode));
  MIXREC_ASSIGN_OR_RETURN(options.adapter_activation,
                          model::ParseAdapterActivation(FLAGS_adapter_act));
  MIXREC_ASSIGN_OR_RETURN(options.parallel_form, model::ParseParallelForm(FLAGS_parallel_form));
  options.parallel_scale = FLAGS_parallel_scale;
  MIXREC_ASSIGN_OR_RETURN(options.cf, model::ParseCfKind(FLAGS_cf_model));
  MIXREC_ASSIGN_OR_RETURN(options.cf_hidden, HiddenWidths(FLAGS_cf_hidden));
  options.architecture = FLAGS_architecture;
  options.replace_every = static_cast<int>(FLAGS_replace_every);
  options.bottleneck = FLAGS_bottleneck;
  options.inject_user = FLAGS_inject == "user" || FLAGS_inject == "user,item";
  options.inject_item = FLAGS_inject == "item" || FLAGS_inject == "user,item";
  options.dropout = FLAGS_dropout;
  options.cf_gmf = FLAGS_cf_gmf;
  options.cf_mlp = FLAGS_cf_mlp;
  options.mf_width = FLAGS_cf_mf;
  options.cf_frozen = FLAGS_cf_training == "frozen";
  options.lambda_align = FLAGS_lambda_align;
  options.lambda_cl = FLAGS_lambda_cl;
  options.lambda_cf = FLAGS_lambda_cf;
  options.temperature = FLAGS_tau;
  return options;
}

absl::StatusOr<worker::TrainOptions> TrainOptionsOfFlags(int64_t epochs) {
  worker::TrainOptions options;
  MIXREC_ASSIGN_OR_RETURN(options.item_init, worker::ParseItemInit(FLAGS_item_init));
  options.epochs = epochs;
  options.batch = FLAGS_batch;
  options.learning_rate = FLAGS_lr;
  options.warmup_fraction = FLAGS_warmup_fraction;
  options.weight_decay = FLAGS_weight_decay;
  options.clip_norm = FLAGS_clip_norm;
  options.seed = static_cast<uint64_t>(FLAGS_seed);
  options.queries_per_user = static_cast<int>(FLAGS_n_s);
  options.negatives = static_cast<int>(FLAGS_n_cl);
  options.max_items = static_cast<int>(FLAGS_max_items);
  options.keep_last = static_cast<int>(FLAGS_keep_last);
  options.simulate_preemption = FLAGS_simulate_preemption;
  options.tensorboard = FLAGS_tensorboard;
  return options;
}

worker::StepPadding PaddingOfFlags() {
  if (FLAGS_pad_steps == "gpu") return worker::StepPadding::kOnGpu;
  return FLAGS_pad_steps == "always" ? worker::StepPadding::kAlways : worker::StepPadding::kNever;
}

absl::StatusOr<Compute> SetUpCompute() {
  const bool cuda = CudaIsUsable();
  if (FLAGS_device == "cuda" && !cuda) {
    return UsageError("--device=cuda: ",
                      ThisBuild().cuda ? "no CUDA GPU was found"
                                       : "this build has no CUDA part (build the preset `cuda`)");
  }
  Compute compute;
  if (cuda && FLAGS_device != "cpu") compute.device = at::Device(at::kCUDA, 0);
  const bool half =
      FLAGS_precision == "bf16" || (FLAGS_precision == "auto" && compute.device.is_cuda());
  compute.dtype = half ? at::kBFloat16 : at::kFloat;
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  at::set_num_threads(FLAGS_threads > 0 ? static_cast<int>(FLAGS_threads) : cores);
  return compute;
}

absl::StatusOr<std::vector<std::string>> DevicesOfFlags() {
  if (FLAGS_devices == "none") return std::vector<std::string>();
  if (FLAGS_devices != "auto") {
    std::vector<std::string> devices = SplitList(FLAGS_devices);
    if (devices.empty()) return UsageError("--devices is empty; expected auto, none or 0,1,...");
    return devices;
  }
  const size_t gpus = FLAGS_device != "cpu" && CudaIsUsable() ? at::getNumGPUs() : 0;
  if (gpus < 2) return std::vector<std::string>();
  // The GPUs that this process may see have numbers of their own there.
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (visible != nullptr) return SplitList(visible);
  std::vector<std::string> devices;
  for (size_t gpu = 0; gpu < gpus; ++gpu) devices.push_back(StrCat(gpu));
  return devices;
}

std::string Describe(const Compute& compute) {
  return StrCat(compute.device.is_cuda() ? "cuda" : "cpu", ", ",
                compute.dtype == at::kFloat ? "fp32" : "bf16", ", ", at::get_num_threads(),
                " threads");
}

}  // namespace mixrec::launch
