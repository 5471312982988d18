#include "launch/plan.h"

#include <algorithm>

#include "data/batcher.h"
#include "launch/flag_reader.h"
#include "launch/flags.h"

namespace mixrec::launch {

worker::MemoryInputs MemoryInputsOf(const Materials& materials) {
  const model::ModelOptions& options = materials.options;
  const bool alignment = options.lambda_align > 0 || options.lambda_cl > 0;
  const worker::LargestStep step = worker::LargestTrainingStep(
      materials.dataset, materials.catalogue, FLAGS_batch, static_cast<int>(FLAGS_max_items),
      static_cast<int>(FLAGS_n_s), static_cast<int>(FLAGS_n_cl), alignment);
  worker::MemoryInputs inputs;
  inputs.backbone = materials.config;
  inputs.options = options;
  inputs.dtype = materials.compute.dtype;
  inputs.users = materials.dataset.users();
  inputs.items = materials.dataset.items();
  inputs.batch_tokens = step.tokens;
  inputs.read_rows = step.read_rows;
  inputs.servers = !FLAGS_ps.empty();
  return inputs;
}

namespace {

// Of so many epochs over all users, each with its validation.
worker::WorkInputs WorkInputsOf(const Materials& materials, double epochs) {
  const model::ModelOptions& options = materials.options;
  const bool alignment = options.lambda_align > 0 || options.lambda_cl > 0;
  const int max_items = static_cast<int>(FLAGS_max_items);
  worker::WorkInputs inputs;
  inputs.backbone = materials.config;
  inputs.options = options;
  inputs.items = static_cast<double>(materials.dataset.items());
  inputs.trained = Times(
      worker::TrainedRows(materials.dataset, materials.catalogue, max_items,
                          static_cast<int>(FLAGS_n_s), static_cast<int>(FLAGS_n_cl), alignment),
      epochs);
  inputs.scored =
      Times(worker::ScoredRows(materials.dataset, materials.catalogue, max_items), epochs);
  return inputs;
}

// Trainable values outside the CF tables.
int64_t DenseParameters(const Materials& materials) {
  int64_t total = 0;
  for (const model::ParameterSpec& spec :
       model::TrainableSpecs(materials.config, materials.options, materials.dataset.items())) {
    int64_t size = 1;
    for (const int64_t extent : spec.shape) size *= extent;
    total += size;
  }
  return total;
}

int64_t TableParameters(const Materials& materials) {
  if (!materials.options.has_cf()) return 0;
  const int64_t rows = int64_t{materials.dataset.users()} + materials.dataset.items();
  return rows * materials.options.cf_width();
}

}  // namespace

worker::WorkInputs TrialWorkInputsOf(const Materials& materials) {
  return WorkInputsOf(materials, FLAGS_bo_fraction * static_cast<double>(FLAGS_trial_epochs));
}

void PrintPlan(const Invocation& invocation, const Materials& materials, int64_t epochs,
               int64_t users) {
  std::ostream& out = *invocation.out;
  out << "\nflags:\n";
  for (const auto& [name, value] : invocation.values) {
    out << "  " << FlagFileLine(name, value) << "\n";
  }
  const int64_t steps = (users + FLAGS_batch - 1) / FLAGS_batch;
  const auto all = static_cast<double>(data::TrainableUsers(materials.dataset).size());
  const worker::WorkInputs work =
      WorkInputsOf(materials, static_cast<double>(users * epochs) / std::max(1.0, all));
  const model::OptConfig& config = materials.config;
  out << "\nmachine: " << Describe(materials.compute) << "\n"
      << "backbone: hidden " << config.hidden << ", " << config.layers << " layers, vocabulary "
      << config.vocab_size << "\n"
      << "architecture: " << materials.options.architecture << "\n"
      << "trainable parameters: " << DenseParameters(materials) << " dense, "
      << TableParameters(materials) << " in tables\n"
      << "memory: " << worker::Describe(worker::EstimateMemory(MemoryInputsOf(materials))) << "\n"
      << "work: " << worker::Describe(worker::EstimateWork(work)) << "\n"
      << "steps: " << steps << " an epoch (" << users << " users, batch " << FLAGS_batch << "), "
      << steps * epochs << " in " << epochs << " epochs" << std::endl;
}

}  // namespace mixrec::launch
