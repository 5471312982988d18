#include <cstdlib>
#include <filesystem>

#include "bench/step.h"
#include "data/synth.h"
#include "data/tokenizer.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/options.h"

namespace mixrec::launch {
namespace {

// A synthetic data set, through files as any other.
absl::StatusOr<data::Dataset> SyntheticDataset() {
  std::string folder = (std::filesystem::temp_directory_path() / "mixrec-bench-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return FailureError("cannot make a folder ", folder);
  data::SynthOptions synth;
  synth.seed = static_cast<uint64_t>(FLAGS_seed);
  data::DatasetOptions options;
  options.folder = folder;
  const absl::Status written = data::WriteSynthetic(synth, folder);
  auto dataset = written.ok() ? data::LoadDataset(options) : absl::StatusOr<data::Dataset>(written);
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return dataset;
}

absl::StatusOr<data::Dataset> BenchDataset() {
  return FLAGS_data.empty() ? SyntheticDataset() : data::LoadDataset(DatasetOptionsOfFlags());
}

data::Catalogue BenchCatalogue(const data::Dataset& dataset) {
  std::vector<std::string> texts;
  for (int32_t item = 0; item < dataset.items(); ++item) texts.push_back(dataset.sentence(item));
  return data::BuildCatalogue(dataset, data::TrainBpe(texts, 2000), CatalogueOptionsOfFlags());
}

}  // namespace

absl::Status RunBenchStep(const Invocation& invocation) {
  MIXREC_ASSIGN_OR_RETURN(const Compute compute, SetUpCompute());
  MIXREC_ASSIGN_OR_RETURN(const data::Dataset dataset, BenchDataset());
  const data::Catalogue catalogue = BenchCatalogue(dataset);
  bench::StepBenchOptions options;
  options.batch = FLAGS_batch;
  options.seconds = FLAGS_seconds;
  options.device = compute.device;
  options.dtype = compute.dtype;
  options.seed = static_cast<uint64_t>(FLAGS_seed);
  options.negatives = static_cast<int>(FLAGS_n_cl);
  std::vector<std::string> shapes{"tiny", "opt-125m"};
  if (!FLAGS_shape.empty()) shapes = {FLAGS_shape};
  for (const std::string& shape : shapes) {
    options.shape = shape;
    MIXREC_ASSIGN_OR_RETURN(const nlohmann::json result,
                            bench::RunStepBench(dataset, catalogue, options));
    *invocation.out << result.dump() << std::endl;
  }
  return absl::OkStatus();
}

}  // namespace mixrec::launch
