#include <cstdlib>
#include <filesystem>
#include <functional>

#include "bench/candidates.h"
#include "bench/score.h"
#include "bench/step.h"
#include "data/synth.h"
#include "data/tokenizer.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/options.h"
#include "launch/ranks.h"

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

absl::StatusOr<data::Catalogue> BenchCatalogue(const data::Dataset& dataset) {
  if (!FLAGS_tokenizer.empty()) {
    MIXREC_ASSIGN_OR_RETURN(const data::Tokenizer tokenizer,
                            data::Tokenizer::Load(FLAGS_tokenizer));
    return data::BuildCatalogue(dataset, tokenizer, CatalogueOptionsOfFlags());
  }
  std::vector<std::string> texts;
  for (int32_t item = 0; item < dataset.items(); ++item) texts.push_back(dataset.sentence(item));
  return data::BuildCatalogue(dataset, data::TrainBpe(texts, 2000), CatalogueOptionsOfFlags());
}

}  // namespace

namespace {

// Runs a benchmark on every shape wanted; one JSON line each.
absl::Status BenchShapes(
    const Invocation& invocation, Ranks* ranks,
    const std::function<absl::StatusOr<nlohmann::json>(const data::Dataset&, const data::Catalogue&,
                                                       const bench::StepBenchOptions&)>& run) {
  MIXREC_ASSIGN_OR_RETURN(const Compute compute, SetUpCompute());
  MIXREC_ASSIGN_OR_RETURN(const data::Dataset dataset, BenchDataset());
  MIXREC_ASSIGN_OR_RETURN(const data::Catalogue catalogue, BenchCatalogue(dataset));
  bench::StepBenchOptions options;
  options.batch = FLAGS_batch;
  options.seconds = FLAGS_seconds;
  options.device = compute.device;
  MIXREC_ASSIGN_OR_RETURN(options.group, ranks->GroupOn(compute.device));
  options.dtype = compute.dtype;
  options.seed = static_cast<uint64_t>(FLAGS_seed);
  options.profile = FLAGS_profile;
  options.padding = PaddingOfFlags();
  options.negatives = static_cast<int>(FLAGS_n_cl);
  std::vector<std::string> shapes{"tiny", "opt-125m"};
  if (!FLAGS_shape.empty()) shapes = {FLAGS_shape};
  for (const std::string& shape : shapes) {
    options.shape = shape;
    MIXREC_ASSIGN_OR_RETURN(const nlohmann::json result, run(dataset, catalogue, options));
    *invocation.out << result.dump() << std::endl;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunBenchStep(const Invocation& invocation) {
  if (FLAGS_candidates > 1) {
    Ranks alone;
    return BenchShapes(invocation, &alone,
                       [](const data::Dataset& dataset, const data::Catalogue& catalogue,
                          const bench::StepBenchOptions& options) {
                         return bench::RunCandidatesBench(dataset, catalogue, options,
                                                          static_cast<int>(FLAGS_candidates));
                       });
  }
  return RunAmongRanks(invocation, [](const Invocation& mine, Ranks* ranks) {
    return BenchShapes(mine, ranks, bench::RunStepBench);
  });
}

absl::Status RunBenchScore(const Invocation& invocation) {
  Ranks alone;
  return BenchShapes(invocation, &alone, bench::RunScoreBench);
}

}  // namespace mixrec::launch
