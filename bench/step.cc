#include "bench/step.h"

#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "bench/step_setup.h"
#include "worker/memory.h"
#include "worker/run_profile.h"
#include "worker/train_step.h"
#include "worker/trainer.h"

namespace mixrec::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kRate = 5e-5;

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

namespace {

// The steps that are measured.
struct Measured {
  int64_t steps = 0, tokens = 0;
  double seconds = 0;
  double data = 0;    // of them, waiting for a batch
  double device = 0;  // a GPU's stream stood still for other ranks
  worker::StepTimes times;
};

class StepBench {
 public:
  StepBench(const data::Dataset& dataset, const data::Catalogue& catalogue,
            const model::Backbone& backbone, const StepBenchOptions& options)
      : options_(options),
        batches_(dataset, catalogue, BatchOptionsOf(backbone.config, options), options),
        state_(backbone, options.model, dataset.users(), dataset.items(), {}, options.placement) {}

  absl::Status Start() {
    if (batches_.empty()) {
      return UsageError("--batch=", options_.batch, " is more than the data set's trainable users");
    }
    MIXREC_RETURN_IF_ERROR(state_.Initialise(options_.seed));
    worker::StepOptions step;
    step.group = options_.group;
    step.padding = options_.padding;
    step_ = std::make_unique<worker::TrainStep>(step, &state_);
    // On a GPU the first steps capture a graph for every shape of batch.
    const int warm_up = options_.device.is_cpu() ? 2 : 100;
    for (int i = 0; i < warm_up; ++i) MIXREC_RETURN_IF_ERROR(RunOne(false));
    return absl::OkStatus();
  }

  // At least three, and as long as rank 0 wants.
  absl::StatusOr<Measured> Measure() {
    Measured measured;
    if (options_.group != nullptr) {
      MIXREC_RETURN_IF_ERROR(options_.group->Barrier("the benchmark"));
      options_.group->set_measures_device_waits(true);
    }
    step_->ResetTimes();
    const double waited = batches_.waited_seconds();
    const Clock::time_point start = Clock::now();
    bool ends = false;
    while (!ends) {
      const data::PackedBatch& batch = batches_.current();
      measured.tokens +=
          options_.group != nullptr ? batch.whole.counted_tokens : batch.counted_tokens();
      ++measured.steps;
      ends = measured.steps >= 3 && SecondsSince(start) >= options_.seconds;
      MIXREC_RETURN_IF_ERROR(RunOne(ends));
      if (options_.group != nullptr) ends = step_->votes().stop > 0;
    }
    Finish(state_.parameters().flat_value());
    measured.seconds = SecondsSince(start);
    measured.data = batches_.waited_seconds() - waited;
    if (options_.group != nullptr) measured.device = options_.group->TakeDeviceWaitSeconds();
    measured.times = step_->times();
    return measured;
  }

  absl::Status Profile() {
    worker::RunProfile profile(StrCat(options_.profile, "/", options_.shape, "-", options_.batch),
                               options_.device);
    while (!profile.finished()) {
      MIXREC_RETURN_IF_ERROR(profile.BeforeStep(step_.get()));
      MIXREC_RETURN_IF_ERROR(RunOne(false, /*alone=*/true));
    }
    return absl::OkStatus();
  }

 private:
  // `last`: what rank 0 wants to be the last step; the others agree. `alone`: it is over before the
  // next one begins.
  absl::Status RunOne(bool last, bool alone = false) {
    const bool decides = options_.group != nullptr && options_.group->rank() == 0;
    step_->set_vote({decides && last ? 1.0 : 0.0, 0});
    const absl::Status status = step_
                                    ->Run(batches_.current(), steps_++, kRate, &batches_.next(),
                                          alone ? std::nullopt : std::make_optional(kRate))
                                    .status();
    batches_.Advance();
    return status;
  }

  const StepBenchOptions options_;
  BatchStream batches_;
  worker::ModelState state_;
  std::unique_ptr<worker::TrainStep> step_;
  int64_t steps_ = 0;
};

nlohmann::json PhasesOf(const Measured& measured) {
  const worker::StepTimes& times = measured.times;
  const double per_step = 1.0 / static_cast<double>(measured.steps);
  return {{"data", measured.data * per_step},
          {"pull", times.pull * per_step},
          {"forward", times.forward * per_step},
          {"softmax", times.softmax * per_step},
          {"backward", times.backward * per_step},
          {"communication", (times.communication + measured.device) * per_step},
          {"server", times.server * per_step},
          {"optimizer", times.optimizer * per_step},
          {"device", times.device * per_step}};
}

nlohmann::json Report(const StepBenchOptions& options, const model::OptConfig& config,
                      const Measured& measured, double sgemm) {
  const double per_step = 1.0 / static_cast<double>(measured.steps);
  const double tokens_per_second = static_cast<double>(measured.tokens) / measured.seconds;
  const double useful = tokens_per_second * UsefulFlopsPerToken(config) * 1e-9;
  return {
      {"shape", options.shape},
      {"device", options.device.str()},
      {"threads", at::get_num_threads()},
      {"ranks", options.group == nullptr ? 1 : options.group->size()},
      {"batch", options.batch},
      {"steps", measured.steps},
      {"step_seconds", measured.seconds * per_step},
      {"tokens_per_step", static_cast<double>(measured.tokens) * per_step},
      {"tokens_per_second", tokens_per_second},
      {"users_per_second", static_cast<double>(measured.steps * options.batch) / measured.seconds},
      {"useful_gflops", useful},
      {"sgemm_gflops", sgemm},
      {"ratio", useful / sgemm},
      {"peak_bytes", PeakBytes(options.device)},
      {"exposed", (measured.times.communication + measured.device) / measured.seconds},
      {"phases", PhasesOf(measured)}};
}

}  // namespace

absl::StatusOr<nlohmann::json> RunStepBench(const data::Dataset& dataset,
                                            const data::Catalogue& catalogue,
                                            const StepBenchOptions& options) {
  MIXREC_ASSIGN_OR_RETURN(const model::Backbone backbone, MakeBackbone(catalogue, options));
  StepBenchOptions validated = options;
  MIXREC_RETURN_IF_ERROR(model::ValidateModelOptions(backbone.config.layers, &validated.model));
  StepBench bench(dataset, catalogue, backbone, validated);
  MIXREC_RETURN_IF_ERROR(bench.Start());
  const double before = MatrixProductGflops(options.device, options.dtype);
  MIXREC_ASSIGN_OR_RETURN(const Measured measured, bench.Measure());
  const double after = MatrixProductGflops(options.device, options.dtype);
  if (!options.profile.empty()) MIXREC_RETURN_IF_ERROR(bench.Profile());
  nlohmann::json report = Report(validated, backbone.config, measured, 0.5 * (before + after));
  report["computed_bytes"] = ComputedBytes(dataset, catalogue, backbone.config, validated);
  return report;
}

}  // namespace mixrec::bench
