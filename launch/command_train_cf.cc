// A collaborative filtering model by itself, for `mixrec train --cf_training=frozen`.
#include <chrono>

#include "absl/strings/str_format.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/options.h"
#include "worker/cf_training.h"

namespace mixrec::launch {
namespace {

absl::StatusOr<worker::CfTrainingOptions> CfOptionsOfFlags(const Compute& compute) {
  worker::CfTrainingOptions options;
  MIXREC_ASSIGN_OR_RETURN(options.model, ModelOptionsOfFlags());
  options.epochs = FLAGS_epochs;
  options.batch = FLAGS_batch;
  options.learning_rate = FLAGS_lr;
  options.warmup_fraction = FLAGS_warmup_fraction;
  options.weight_decay = FLAGS_weight_decay;
  options.seed = static_cast<uint64_t>(FLAGS_seed);
  options.device = compute.device;
  return options;
}

}  // namespace

absl::Status RunTrainCf(const Invocation& invocation) {
  MIXREC_RETURN_IF_ERROR(RequireFlag("data", FLAGS_data));
  MIXREC_RETURN_IF_ERROR(RequireFlag("out", FLAGS_out));
  MIXREC_ASSIGN_OR_RETURN(const Compute compute, SetUpCompute());
  MIXREC_ASSIGN_OR_RETURN(const worker::CfTrainingOptions options, CfOptionsOfFlags(compute));
  MIXREC_ASSIGN_OR_RETURN(const data::Dataset dataset, data::LoadDataset(DatasetOptionsOfFlags()));
  std::ostream& out = *invocation.out;
  for (const std::string& line : data::Describe(dataset.stats())) out << line << "\n";
  const auto start = std::chrono::steady_clock::now();
  MIXREC_ASSIGN_OR_RETURN(const worker::CfTrainingResult result,
                          worker::TrainCf(dataset, options, FLAGS_out));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!result.losses.empty()) {
    out << absl::StrFormat("BPR loss %.4f in the first epoch, %.4f in the last\n",
                           result.losses.front(), result.losses.back());
  }
  out << absl::StrFormat("%d steps in %.1f s\n", result.steps, seconds) << "wrote " << result.path
      << " (next: mixrec train --cf_training=frozen --cf=" << FLAGS_out << ")" << std::endl;
  return absl::OkStatus();
}

}  // namespace mixrec::launch
