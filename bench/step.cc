#include "bench/step.h"

#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "bench/step_setup.h"
#include "worker/memory.h"
#include "worker/run_profile.h"
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

// What EstimateMemory counts for these steps.
int64_t ComputedBytes(const data::Dataset& dataset, const data::Catalogue& catalogue,
                      const model::OptConfig& config, const StepBenchOptions& options) {
  const worker::TrainOptions train;
  const worker::LargestStep largest =
      worker::LargestTrainingStep(dataset, catalogue, options.batch, train.max_items,
                                  train.queries_per_user, options.negatives, /*alignment=*/true);
  worker::MemoryInputs memory;
  memory.backbone = config;
  memory.options = options.model;
  memory.dtype = options.dtype;
  memory.users = dataset.users();
  memory.items = dataset.items();
  memory.batch_tokens = largest.tokens;
  memory.read_rows = largest.read_rows;
  return worker::EstimateMemory(memory).total();
}

int64_t PeakBytes(at::Device device) {
  if (device.is_cpu()) return 0;
  return c10::getDeviceAllocator(device.type())
      ->getDeviceStats(device.index() < 0 ? 0 : device.index())
      .allocated_bytes[0]
      .peak;
}

}  // namespace

double UsefulFlopsPerToken(const model::OptConfig& config) {
  const double d = static_cast<double>(config.hidden), f = static_cast<double>(config.ffn);
  return 2.0 * 2.0 * (5.0 * d * d + 2.0 * d * f) * static_cast<double>(config.layers);
}

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
  BatchStream batches(dataset, catalogue, BatchOptionsOf(backbone.config, validated), options.seed,
                      options.batch);
  if (batches.empty()) {
    return UsageError("--batch=", options.batch, " is more than the data set's trainable users");
  }
  worker::ModelState state(backbone, validated.model, dataset.users(), dataset.items());
  MIXREC_RETURN_IF_ERROR(state.Initialise(options.seed));
  worker::TrainStep step(worker::StepOptions(), &state);
  int64_t steps = 0;
  const auto run_one = [&] {
    const auto status = step.Run(batches.current(), steps++, 5e-5, &batches.next()).status();
    batches.Advance();
    return status;
  };
  // On a GPU the first steps capture a graph for every shape of batch.
  const int warm_up = options.device.is_cpu() ? 2 : 100;
  for (int i = 0; i < warm_up; ++i) MIXREC_RETURN_IF_ERROR(run_one());
  const double before = MatrixProductGflops(options.device, options.dtype);
  step.ResetTimes();
  int64_t tokens = 0, measured = 0;
  const Clock::time_point start = Clock::now();
  while (measured < 3 || SecondsSince(start) < options.seconds) {
    tokens += batches.current().counted_tokens();
    ++measured;
    MIXREC_RETURN_IF_ERROR(run_one());
  }
  Finish(state.parameters().flat_value());
  const double seconds = SecondsSince(start);
  const double sgemm = 0.5 * (before + MatrixProductGflops(options.device, options.dtype));
  const double tokens_per_second = static_cast<double>(tokens) / seconds;
  const double useful = tokens_per_second * UsefulFlopsPerToken(backbone.config) * 1e-9;
  const worker::StepTimes times = step.times();
  if (!options.profile.empty()) {
    worker::RunProfile profile(StrCat(options.profile, "/", options.shape, "-", options.batch),
                               options.device);
    while (!profile.finished()) {
      MIXREC_RETURN_IF_ERROR(profile.BeforeStep(&step));
      MIXREC_RETURN_IF_ERROR(run_one());
    }
  }
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
      {"peak_bytes", PeakBytes(options.device)},
      {"computed_bytes", ComputedBytes(dataset, catalogue, backbone.config, validated)},
      {"phases",
       {{"pull", times.pull * per_step},
        {"forward", times.forward * per_step},
        {"softmax", times.softmax * per_step},
        {"backward", times.backward * per_step},
        {"optimizer", times.optimizer * per_step}}}};
}

}  // namespace mixrec::bench
