#include "launch/plan.h"

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

void PrintPlan(const Invocation& invocation, const Materials& materials, int64_t epochs,
               int64_t users) {
  std::ostream& out = *invocation.out;
  out << "\nflags:\n";
  for (const auto& [name, value] : invocation.values) {
    out << "  " << FlagFileLine(name, value) << "\n";
  }
  const int64_t steps = (users + FLAGS_batch - 1) / FLAGS_batch;
  const model::OptConfig& config = materials.config;
  out << "\nmachine: " << Describe(materials.compute) << "\n"
      << "backbone: hidden " << config.hidden << ", " << config.layers << " layers, vocabulary "
      << config.vocab_size << "\n"
      << "architecture: " << materials.options.architecture << "\n"
      << "trainable parameters: " << DenseParameters(materials) << " dense, "
      << TableParameters(materials) << " in tables\n"
      << "memory: " << worker::Describe(worker::EstimateMemory(MemoryInputsOf(materials))) << "\n"
      << "steps: " << steps << " an epoch (" << users << " users, batch " << FLAGS_batch << "), "
      << steps * epochs << " in " << epochs << " epochs" << std::endl;
}

}  // namespace mixrec::launch
