#include "bench/step.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "data/batcher.h"
#include "data/hard_samples.h"
#include "model/backbone_create.h"
#include "worker/train_step.h"
#include "worker/trainer.h"

namespace mixrec::bench {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Waits for the device: reading a value back cannot overtake the work before it.
void Finish(const at::Tensor& tensor) {
  if (tensor.is_cuda()) tensor.flatten()[0].item<float>();
}

double UsefulFlopsPerToken(const model::OptConfig& config) {
  const double d = static_cast<double>(config.hidden), f = static_cast<double>(config.ffn);
  return 2.0 * 2.0 * (5.0 * d * d + 2.0 * d * f) * static_cast<double>(config.layers);
}

absl::StatusOr<model::Backbone> MakeBackbone(const data::Catalogue& catalogue,
                                             const StepBenchOptions& options) {
  model::OptConfig config = TinyShape();
  if (options.shape != "tiny") {
    MIXREC_ASSIGN_OR_RETURN(config, model::PublishedShape(options.shape));
  }
  for (int32_t item = 0; item < catalogue.items(); ++item) {
    for (int32_t token : catalogue.item_tokens(item)) {
      config.vocab_size = std::max<int64_t>(config.vocab_size, token + 1);
    }
  }
  MIXREC_ASSIGN_OR_RETURN(model::Backbone backbone,
                          model::RandomBackbone(config, options.seed, options.dtype));
  if (!options.device.is_cpu()) model::MoveBackbone(options.device, &backbone);
  return backbone;
}

std::vector<data::PackedBatch> MakeBatches(const data::Dataset& dataset,
                                           const data::Catalogue& catalogue,
                                           const model::OptConfig& config,
                                           const StepBenchOptions& options) {
  worker::TrainOptions train;
  train.seed = options.seed;
  train.negatives = options.negatives;
  const data::BatchOptions batch_options = worker::MakeBatchOptions(train, options.model, config);
  const data::UniformNonCooccurring hard_samples(dataset);
  std::vector<int32_t> users;
  for (int32_t user = 0; user < dataset.users(); ++user) {
    if (dataset.training_items(user).size() >= 2) users.push_back(user);
  }
  users = data::EpochOrder(options.seed, 0, users);
  std::vector<data::PackedBatch> batches;
  constexpr int kBatches = 32;
  for (int i = 0; i < kBatches; ++i) {
    const size_t first = static_cast<size_t>(i * options.batch);
    if (first + static_cast<size_t>(options.batch) > users.size()) break;
    batches.push_back(data::BuildTrainingBatch(
        dataset, catalogue, hard_samples, batch_options, 0,
        absl::MakeConstSpan(users).subspan(first, static_cast<size_t>(options.batch))));
  }
  return batches;
}

}  // namespace

model::OptConfig TinyShape() {
  model::OptConfig config;
  config.vocab_size = 50272;
  config.hidden = config.word_width = 256;
  config.layers = 4;
  config.heads = 4;
  config.ffn = 1024;
  config.max_positions = 2048;
  return config;
}

double MatrixProductGflops(at::Device device, at::ScalarType dtype, int64_t size) {
  const auto options = at::TensorOptions().device(device).dtype(dtype);
  const at::Tensor a = at::randn({size, size}, options), b = at::randn({size, size}, options);
  at::Tensor c = at::empty({size, size}, options);
  at::mm_out(c, a, b);
  Finish(c);
  std::vector<double> rates;
  const int repeats = device.is_cpu() ? 1 : 20;
  for (int run = 0; run < 7; ++run) {
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < repeats; ++i) at::mm_out(c, a, b);
    Finish(c);
    rates.push_back(2.0 * static_cast<double>(size * size * size) * repeats / SecondsSince(start) *
                    1e-9);
  }
  std::sort(rates.begin(), rates.end());
  return rates[rates.size() / 2];
}

absl::StatusOr<nlohmann::json> RunStepBench(const data::Dataset& dataset,
                                            const data::Catalogue& catalogue,
                                            const StepBenchOptions& options) {
  MIXREC_ASSIGN_OR_RETURN(const model::Backbone backbone, MakeBackbone(catalogue, options));
  StepBenchOptions validated = options;
  MIXREC_RETURN_IF_ERROR(model::ValidateModelOptions(backbone.config.layers, &validated.model));
  const std::vector<data::PackedBatch> batches =
      MakeBatches(dataset, catalogue, backbone.config, validated);
  if (batches.empty()) {
    return UsageError("--batch=", options.batch, " is more than the data set's trainable users");
  }
  worker::ModelState state(backbone, validated.model, dataset.users(), dataset.items());
  MIXREC_RETURN_IF_ERROR(state.Initialise(options.seed));
  worker::TrainStep step(worker::StepOptions(), &state);
  int64_t steps = 0;
  const auto run_one = [&] {
    const auto& batch = batches[static_cast<size_t>(steps) % batches.size()];
    return step.Run(batch, steps++, 5e-5).status();
  };
  for (int i = 0; i < 2; ++i) MIXREC_RETURN_IF_ERROR(run_one());
  const double before = MatrixProductGflops(options.device, options.dtype);
  step.ResetTimes();
  int64_t tokens = 0, measured = 0;
  const Clock::time_point start = Clock::now();
  while (measured < 3 || SecondsSince(start) < options.seconds) {
    tokens += batches[static_cast<size_t>(steps) % batches.size()].counted_tokens();
    ++measured;
    MIXREC_RETURN_IF_ERROR(run_one());
  }
  Finish(state.parameters().flat_value());
  const double seconds = SecondsSince(start);
  const double sgemm = 0.5 * (before + MatrixProductGflops(options.device, options.dtype));
  const double tokens_per_second = static_cast<double>(tokens) / seconds;
  const double useful = tokens_per_second * UsefulFlopsPerToken(backbone.config) * 1e-9;
  const worker::StepTimes& times = step.times();
  const double per_step = 1.0 / static_cast<double>(measured);
  return nlohmann::json{
      {"shape", options.shape},
      {"device", options.device.str()},
      {"threads", at::get_num_threads()},
      {"batch", options.batch},
      {"steps", measured},
      {"step_seconds", seconds * per_step},
      {"tokens_per_step", static_cast<double>(tokens) * per_step},
      {"tokens_per_second", tokens_per_second},
      {"users_per_second", static_cast<double>(measured * options.batch) / seconds},
      {"useful_gflops", useful},
      {"sgemm_gflops", sgemm},
      {"ratio", useful / sgemm},
      {"phases",
       {{"pull", times.pull * per_step},
        {"forward", times.forward * per_step},
        {"softmax", times.softmax * per_step},
        {"backward", times.backward * per_step},
        {"optimizer", times.optimizer * per_step}}}};
}

}  // namespace mixrec::bench
