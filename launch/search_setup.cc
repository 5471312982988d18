#include "launch/search_setup.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/file.h"
#include "launch/flags.h"
#include "launch/flags_search.h"
#include "launch/trial_limits.h"
#include "model/architecture.h"

namespace mixrec::launch {
namespace {

using Json = nlohmann::json;
using bo_driver::StudyOptions;

// Bits are those of the DAMoE layers, unless how many there are is searched as well.
int StudyLayers(const Materials& materials, const StudyOptions& options) {
  const int layers = static_cast<int>(materials.config.layers);
  for (const bo_driver::Dimension& dimension : options.dimensions) {
    if (dimension.name == bo_driver::kReplaceEvery) return layers;
  }
  return model::DamoeLayers(layers, materials.options.replace_every);
}

std::map<std::string, std::string> SettingsOf(const Materials& materials) {
  std::map<std::string, std::string> settings{{"data", materials.dataset.content_hash()},
                                              {"backbone", materials.backbone.content_hash},
                                              {"trial_epochs", StrCat(FLAGS_trial_epochs)},
                                              {"bo_fraction", StrCat(FLAGS_bo_fraction)}};
  if (materials.hard_samples != nullptr) {
    settings["hard_samples"] = materials.hard_samples->content_hash();
  }
  return settings;
}

bool IsPath(const std::string& flag) {
  return flag == "data" || flag == "backbone" || flag == "tokenizer" || flag == "hard_samples" ||
         flag == "ps_key_file";
}

}  // namespace

absl::StatusOr<StudyOptions> StudyOptionsOfFlags(const Materials& materials) {
  StudyOptions options;
  if (!FLAGS_space.empty()) {
    MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(FLAGS_space));
    MIXREC_ASSIGN_OR_RETURN(options.dimensions, bo_driver::ParseDimensions(text, FLAGS_space));
  }
  options.layers = StudyLayers(materials, options);
  options.trials = static_cast<int>(FLAGS_trials);
  options.seed = static_cast<uint64_t>(FLAGS_seed);
  options.groups = static_cast<int>(FLAGS_groups * FLAGS_per_gpu);
  MIXREC_ASSIGN_OR_RETURN(options.method, bo_driver::ParseMethod(FLAGS_method));
  MIXREC_ASSIGN_OR_RETURN(options.early_stop, bo_driver::ParseEarlyStopRule(FLAGS_early_stop));
  options.epochs = static_cast<int>(FLAGS_trial_epochs);
  options.replicate_top = static_cast<int>(FLAGS_replicate_top);
  options.warm_start = FLAGS_warm_start;
  options.defaults = {
      {bo_driver::kReplaceEvery, static_cast<double>(materials.options.replace_every)},
      {bo_driver::kBottleneck, static_cast<double>(materials.options.bottleneck)}};
  options.settings = SettingsOf(materials);
  MIXREC_RETURN_IF_ERROR(LimitTrials(materials, &options));
  return options;
}

absl::StatusOr<worker::SearchObjective> MakeObjective(const Materials& materials,
                                                      const std::string& study_folder,
                                                      worker::SideBySide* others,
                                                      collective::Group* group) {
  worker::SearchObjectiveOptions options;
  MIXREC_ASSIGN_OR_RETURN(options.train, TrainOptionsOfFlags(FLAGS_trial_epochs));
  options.fraction = FLAGS_bo_fraction;
  options.folder = StrCat(study_folder, "/trials");
  MIXREC_RETURN_IF_ERROR(MakeFolder(options.folder));
  model::ModelOptions model = materials.options;
  model.architecture.clear();
  worker::TrainInputs inputs = InputsOf(materials);
  inputs.others = others;
  inputs.group = group;
  return worker::SearchObjective(inputs, model, options);
}

RunRequest StudyRequest(const Invocation& invocation, const Materials& materials,
                        const std::string& folder) {
  RunRequest request = RequestOf(invocation, materials);
  request.folder = folder;
  request.verb = "search";
  std::map<std::string, std::string> flags;
  for (const auto& [name, flag] : invocation.table->flags()) {
    if (!invocation.table->Takes("search", name)) continue;
    const auto given = request.flags.find(name);
    flags[name] = given == request.flags.end() ? flag.default_value : given->second;
  }
  request.flags = std::move(flags);
  request.flags["out"] = folder;
  return request;
}

StudyBrief BriefOf(const RunRequest& request, const RunFolder& run) {
  StudyBrief brief;
  brief.folder = std::filesystem::absolute(run.path()).lexically_normal().string();
  brief.id = run.id();
  brief.flags = request.flags;
  for (auto& [name, value] : brief.flags) {
    if (IsPath(name) && !value.empty()) value = std::filesystem::absolute(value).string();
  }
  for (const auto& [name, input] : request.inputs) brief.hashes[name] = input.hash;
  return brief;
}

std::string BriefText(const StudyBrief& brief) {
  return Json{
      {"folder", brief.folder}, {"id", brief.id}, {"flags", brief.flags}, {"hashes", brief.hashes}}
      .dump();
}

absl::StatusOr<StudyBrief> ParseBrief(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  try {
    StudyBrief brief;
    brief.folder = json.at("folder").get<std::string>();
    brief.id = json.at("id").get<std::string>();
    brief.flags = json.at("flags").get<std::map<std::string, std::string>>();
    brief.hashes = json.at("hashes").get<std::map<std::string, std::string>>();
    return brief;
  } catch (const Json::exception& error) {
    return DataError("the scheduler's description of the study cannot be read (is it of another ",
                     "version?): ", error.what());
  }
}

absl::Status CheckSameInputs(const StudyBrief& brief, const RunRequest& request) {
  for (const auto& [name, hash] : brief.hashes) {
    const auto own = request.inputs.find(name);
    if (own != request.inputs.end() && own->second.hash == hash) continue;
    if (own == request.inputs.end()) return DataError("the study has --", name, ", this group not");
    return DataError("the ", name, " in ", own->second.path, " (hash ", own->second.hash,
                     ") is not the study's (hash ", hash, "); name the right one with --", name);
  }
  return absl::OkStatus();
}

}  // namespace mixrec::launch
