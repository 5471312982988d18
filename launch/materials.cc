#include "launch/materials.h"

#include <algorithm>

#include "common/file.h"
#include "launch/flags.h"
#include "launch/flags_cf.h"
#include "launch/flags_mine.h"
#include "launch/logging.h"
#include "worker/cf_training.h"
#include "worker/shared_catalogue.h"

namespace mixrec::launch {
namespace {

absl::Status LoadTokenizer(Materials* materials) {
  materials->tokenizer_folder = FLAGS_tokenizer.empty() ? FLAGS_backbone : FLAGS_tokenizer;
  MIXREC_ASSIGN_OR_RETURN(data::Tokenizer tokenizer,
                          data::Tokenizer::Load(materials->tokenizer_folder));
  if (tokenizer.vocab_size() > materials->config.vocab_size) {
    return DataError("the tokenizer in ", materials->tokenizer_folder, " has ids up to ",
                     tokenizer.vocab_size() - 1, ", the backbone in ", FLAGS_backbone, " only ",
                     materials->config.vocab_size, " word vectors; they do not belong together");
  }
  materials->tokenizer = std::make_unique<data::Tokenizer>(std::move(tokenizer));
  return absl::OkStatus();
}

// A full history must fit into the backbone's positions.
absl::Status CheckPositions(const model::OptConfig& config) {
  const int64_t needed = FLAGS_max_items * (FLAGS_max_item_tokens + 1);
  if (needed <= config.max_positions) return absl::OkStatus();
  return UsageError("--max_items=", FLAGS_max_items,
                    " items of --max_item_tokens=", FLAGS_max_item_tokens,
                    " tokens and a [SEQ] need ", needed, " positions; the backbone in ",
                    FLAGS_backbone, " has ", config.max_positions);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Materials>> LoadMaterials(std::ostream* out) {
  MIXREC_RETURN_IF_ERROR(RequireFlag("data", FLAGS_data));
  MIXREC_RETURN_IF_ERROR(RequireFlag("backbone", FLAGS_backbone));
  auto materials = std::make_unique<Materials>();
  MIXREC_ASSIGN_OR_RETURN(materials->compute, SetUpCompute());
  MIXREC_ASSIGN_OR_RETURN(materials->options, ModelOptionsOfFlags());
  MIXREC_ASSIGN_OR_RETURN(materials->config, model::ReadOptConfig(FLAGS_backbone));
  MIXREC_RETURN_IF_ERROR(
      model::ValidateModelOptions(materials->config.layers, &materials->options));
  MIXREC_RETURN_IF_ERROR(CheckPositions(materials->config));
  MIXREC_RETURN_IF_ERROR(LoadTokenizer(materials.get()));
  MIXREC_ASSIGN_OR_RETURN(materials->dataset, data::LoadDataset(DatasetOptionsOfFlags()));
  if (out != nullptr) {
    for (const std::string& line : data::Describe(materials->dataset.stats())) {
      *out << line << "\n";
    }
    *out << "data hash: " << materials->dataset.content_hash() << std::endl;
  }
  return materials;
}

absl::Status LoadBackboneInto(Materials* materials) {
  MIXREC_ASSIGN_OR_RETURN(
      materials->backbone,
      model::LoadBackbone(FLAGS_backbone, materials->compute.device, materials->compute.dtype));
  return absl::OkStatus();
}

absl::Status LoadHardSamplesInto(Materials* materials) {
  if (FLAGS_hard_samples.empty()) return absl::OkStatus();
  MIXREC_ASSIGN_OR_RETURN(materials->hard_samples,
                          data::MinedHardSamples::Load(FLAGS_hard_samples, materials->dataset));
  return absl::OkStatus();
}

absl::Status FindCfInto(Materials* materials) {
  if (FLAGS_cf.empty()) return absl::OkStatus();
  MIXREC_ASSIGN_OR_RETURN(materials->cf_hash, FileHash(worker::CfFile(FLAGS_cf)));
  return absl::OkStatus();
}

absl::Status LoadCatalogueInto(const std::string& folder, Materials* materials,
                               const Ranks& ranks) {
  const std::string cache = folder.empty() ? "" : StrCat(folder, "/catalogue.cache");
  MIXREC_ASSIGN_OR_RETURN(
      materials->catalogue,
      ranks.group() == nullptr
          ? data::LoadOrBuildCatalogue(materials->dataset, *materials->tokenizer,
                                       CatalogueOptionsOfFlags(), cache)
          : worker::SharedCatalogue(ranks.group(), materials->dataset, *materials->tokenizer,
                                    CatalogueOptionsOfFlags(), cache));
  return absl::OkStatus();
}

worker::TrainInputs InputsOf(const Materials& materials) {
  worker::TrainInputs inputs;
  inputs.dataset = &materials.dataset;
  inputs.catalogue = &materials.catalogue;
  inputs.backbone = &materials.backbone;
  inputs.hard_samples = materials.hard_samples.get();
  return inputs;
}

RunRequest RequestOf(const Invocation& invocation, const Materials& materials) {
  RunRequest request;
  request.folder = FLAGS_out;
  request.verb = invocation.verb->name;
  request.arguments = invocation.arguments;
  request.flags = invocation.values;
  request.inputs = {
      {"data", {FLAGS_data, materials.dataset.content_hash()}},
      {"backbone", {FLAGS_backbone, materials.backbone.content_hash}},
      {"tokenizer", {materials.tokenizer_folder, materials.tokenizer->content_hash()}}};
  if (materials.hard_samples != nullptr) {
    request.inputs["hard_samples"] = {FLAGS_hard_samples, materials.hard_samples->content_hash()};
  }
  if (!materials.cf_hash.empty()) request.inputs["cf"] = {FLAGS_cf, materials.cf_hash};
  request.resume = FLAGS_resume;
  request.resume_allow = FLAGS_resume_allow;
  return request;
}

absl::StatusOr<RunFolder> OpenRun(const Invocation& invocation, const Materials& materials,
                                  const Ranks& ranks) {
  absl::StatusOr<RunFolder> run = ranks.leads()
                                      ? RunFolder::Open(RequestOf(invocation, materials))
                                      : absl::StatusOr<RunFolder>(RunFolder::Visit(FLAGS_out, ""));
  MIXREC_RETURN_IF_ERROR(ranks.Agree(run.status(), "opening the run"));
  if (ranks.group() == nullptr) {
    MIXREC_RETURN_IF_ERROR(LogInto(run->File("logs")));
    return run;
  }
  MIXREC_RETURN_IF_ERROR(LogInto(run->File("logs"), StrCat("mixrec.rank", ranks.rank())));
  std::string id = run->id();
  MIXREC_RETURN_IF_ERROR(ranks.Share("the run's name", &id));
  return ranks.leads() ? std::move(run) : RunFolder::Visit(FLAGS_out, id);
}

}  // namespace mixrec::launch
