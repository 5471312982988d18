// The text of --dry_run.
#include <numeric>

#include "absl/strings/str_format.h"
#include "launch/flag_reader.h"
#include "launch/flags.h"
#include "launch/materials.h"
#include "model/mixrec_model.h"

namespace mixrec::launch {
namespace {

int64_t DenseParameters(const Materials& materials) {
  int64_t total = 0;
  for (const model::ParameterSpec& spec :
       model::TrainableSpecs(materials.config, materials.options, materials.dataset.items())) {
    total += std::accumulate(spec.shape.begin(), spec.shape.end(), int64_t{1},
                             [](int64_t a, int64_t b) { return a * b; });
  }
  return total;
}

int64_t TableParameters(const Materials& materials) {
  if (!materials.options.has_cf()) return 0;
  const int64_t rows = int64_t{materials.dataset.users()} + materials.dataset.items();
  return rows * materials.options.cf_width();
}

std::string Megabytes(int64_t bytes) { return absl::StrFormat("%.1f MB", bytes / 1e6); }

}  // namespace

void PrintPlan(const Invocation& invocation, const Materials& materials, int64_t epochs,
               int64_t users) {
  std::ostream& out = *invocation.out;
  out << "\nflags:\n";
  for (const auto& [name, value] : invocation.values) {
    out << "  " << FlagFileLine(name, value) << "\n";
  }
  const int64_t dense = DenseParameters(materials), tables = TableParameters(materials);
  const int64_t frozen = model::BackboneBytes(materials.config, materials.compute.dtype);
  const int64_t steps = (users + FLAGS_batch - 1) / FLAGS_batch;
  const model::OptConfig& config = materials.config;
  out << "\nmachine: " << Describe(materials.compute) << "\n"
      << "backbone: hidden " << config.hidden << ", " << config.layers << " layers, vocabulary "
      << config.vocab_size << "; " << Megabytes(frozen) << ", frozen\n"
      << "architecture: " << materials.options.architecture << "\n"
      << "trainable parameters: " << dense << " dense, " << tables << " in tables; "
      << Megabytes((dense + tables) * 16) << " with gradients and AdamW's moments\n"
      << "steps: " << steps << " an epoch (" << users << " users, batch " << FLAGS_batch << "), "
      << steps * epochs << " in " << epochs << " epochs" << std::endl;
}

}  // namespace mixrec::launch
