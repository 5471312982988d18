#include "launch/trained_model.h"

#include <filesystem>

#include "launch/flags.h"
#include "launch/servers.h"

namespace mixrec::launch {
namespace {

using Json = nlohmann::json;

// Gives the flags that are the run's business (item fields, filter, mode, ...) the run's values.
absl::Status TakeOverFlags(const Invocation& invocation, const Json& record) {
  std::map<std::string, std::string> values;
  const Json flags = record.value("flags", Json::object());
  for (const auto& [name, value] : flags.items()) {
    const Flag* flag = invocation.table->Find(name);
    if (flag == nullptr || invocation.table->Takes(invocation.verb->name, name)) continue;
    if (!value.is_string() || !ExpectedInstead(*flag, value.get<std::string>()).empty()) {
      return DataError(FLAGS_run, "/run.json: flag ", name, " holds ", value.dump());
    }
    values[name] = value.get<std::string>();
  }
  SetFlags(values);
  return absl::OkStatus();
}

Json InputOf(const Json& record, const std::string& name) {
  const Json inputs = record.value("inputs", Json::object());
  return inputs.is_object() ? inputs.value(name, Json::object()) : Json::object();
}

// A path of run.json; relative ones, of exported models, count from the run's folder.
std::string PathOf(const Json& record, const std::string& name) {
  const std::filesystem::path path = InputOf(record, name).value("path", "");
  if (path.empty() || path.is_absolute()) return path.string();
  return (std::filesystem::path(FLAGS_run) / path).string();
}

// The run's paths for those that were not given.
void TakeOverPaths(const Invocation& invocation, const Json& record) {
  for (const char* name : {"data", "backbone", "tokenizer"}) {
    if (invocation.IsGiven(name)) continue;
    SetFlags({{name, PathOf(record, name)}});
  }
  // A backbone that moved brings its tokenizer along.
  const bool own = InputOf(record, "tokenizer").value("path", "") ==
                   InputOf(record, "backbone").value("path", "");
  if (own && invocation.IsGiven("backbone") && !invocation.IsGiven("tokenizer")) {
    SetFlags({{"tokenizer", FLAGS_backbone}});
  }
}

absl::Status CheckHash(const Json& record, const std::string& name, const std::string& path,
                       const std::string& hash) {
  const Json input = InputOf(record, name);
  const std::string expected = input.value("hash", "");
  if (hash == expected) return absl::OkStatus();
  return DataError("the ", name, " in ", path, " (hash ", hash, ") is not that of ", FLAGS_run,
                   " (", input.value("path", ""), ", hash ", expected,
                   "); give the right one with --", name);
}

absl::Status CheckHashes(const Json& record, const Materials& materials) {
  MIXREC_RETURN_IF_ERROR(CheckHash(record, "data", FLAGS_data, materials.dataset.content_hash()));
  MIXREC_RETURN_IF_ERROR(
      CheckHash(record, "backbone", FLAGS_backbone, materials.backbone.content_hash));
  return CheckHash(record, "tokenizer", materials.tokenizer_folder,
                   materials.tokenizer->content_hash());
}

// Data, backbone and catalogue, those of the run.
absl::Status LoadMaterialsOf(const Json& record, std::ostream* out, TrainedModel* trained) {
  MIXREC_ASSIGN_OR_RETURN(trained->materials, LoadMaterials(out));
  MIXREC_RETURN_IF_ERROR(LoadBackboneInto(trained->materials.get()));
  return CheckHashes(record, *trained->materials);
}

// The model; its tables, where servers have them, are filled by the rank that leads.
absl::Status LoadModelOf(TrainedModel* trained, const Ranks& ranks) {
  const auto load = [&](const std::string& scratch) -> absl::Status {
    MIXREC_ASSIGN_OR_RETURN(
        trained->model,
        worker::LoadModel(trained->checkpoint, trained->materials->backbone,
                          trained->materials->dataset, {trained->session.get(), {}}, scratch));
    return absl::OkStatus();
  };
  const std::string scratch = StrCat(FLAGS_run, "/.tmp-", UniqueName("tables"));
  MIXREC_RETURN_IF_ERROR(
      ranks.Agree(ranks.leads() ? load(scratch) : absl::OkStatus(), "loading the model"));
  return ranks.Agree(ranks.leads() ? absl::OkStatus() : load(""), "loading the model");
}

}  // namespace

absl::StatusOr<TrainedModel> LoadTrainedModel(const Invocation& invocation, std::ostream* out,
                                              Ranks* ranks) {
  MIXREC_RETURN_IF_ERROR(RequireFlag("run", FLAGS_run));
  MIXREC_ASSIGN_OR_RETURN(const Json record, ReadRunRecord(FLAGS_run));
  if (record.value("command", "") != "train") {
    return UsageError("--run=", FLAGS_run, " is a run of `mixrec ", record.value("command", "?"),
                      "`, not of `mixrec train`");
  }
  MIXREC_RETURN_IF_ERROR(TakeOverFlags(invocation, record));
  TakeOverPaths(invocation, record);
  TrainedModel trained;
  MIXREC_RETURN_IF_ERROR(ranks->Agree(LoadMaterialsOf(record, out, &trained), "loading the data"));
  MIXREC_RETURN_IF_ERROR(ranks->GroupOn(trained.materials->compute.device).status());
  MIXREC_RETURN_IF_ERROR(LoadCatalogueInto("", trained.materials.get(), *ranks));
  MIXREC_ASSIGN_OR_RETURN(trained.checkpoint, worker::FindCheckpoint(FLAGS_run, FLAGS_checkpoint));
  if (invocation.table->Takes(invocation.verb->name, "ps") && !FLAGS_ps.empty()) {
    std::string space = UniqueName(FLAGS_run);
    MIXREC_RETURN_IF_ERROR(ranks->Share("the tables' name", &space));
    MIXREC_ASSIGN_OR_RETURN(trained.session, OpenServers(space, *ranks));
  }
  MIXREC_RETURN_IF_ERROR(LoadModelOf(&trained, *ranks));
  return trained;
}

absl::Status DropTables(TrainedModel* trained, const Ranks& ranks) {
  if (trained->session == nullptr) return absl::OkStatus();
  MIXREC_RETURN_IF_ERROR(ranks.Agree(absl::OkStatus(), "the end"));  // nobody reads them any more
  return ranks.leads() ? trained->session->Drop() : absl::OkStatus();
}

}  // namespace mixrec::launch
