// A trained model as a folder that stands alone: to be moved, archived, served from.
#include <filesystem>
#include <set>
#include <string>

#include "common/file.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/npy.h"
#include "launch/run_folder.h"
#include "launch/trained_model.h"

namespace mixrec::launch {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// The regular files of a folder, or those with one of the extensions.
absl::Status CopyFiles(const fs::path& from, const fs::path& to,
                       const std::set<std::string>& extensions = {}) {
  std::error_code error;
  fs::create_directories(to, error);
  for (const auto& entry : fs::directory_iterator(from, error)) {
    if (!entry.is_regular_file()) continue;
    if (!extensions.empty() && extensions.count(entry.path().extension().string()) == 0) continue;
    fs::copy_file(entry.path(), to / entry.path().filename(), error);
    if (error) break;
  }
  if (!error) return absl::OkStatus();
  return FailureError("cannot copy ", from.string(), " to ", to.string(), ": ", error.message());
}

absl::Status CopyCheckpoint(const fs::path& checkpoint, const fs::path& out) {
  const fs::path folder = out / "checkpoints";
  const fs::path name = fs::canonical(checkpoint).filename();
  MIXREC_RETURN_IF_ERROR(CopyFiles(checkpoint, folder / name));
  std::error_code error;
  if (fs::is_directory(checkpoint / "tables", error)) {  // of a run on a parameter server
    MIXREC_RETURN_IF_ERROR(CopyFiles(checkpoint / "tables", folder / name / "tables"));
  }
  for (const char* link : {"best", "last"}) {
    fs::create_directory_symlink(name, folder / link, error);
    if (error) return FailureError("cannot link ", (folder / link).string(), ": ", error.message());
  }
  return absl::OkStatus();
}

// What evaluation and serving score with: score = item_embeddings h + item_bias.
absl::Status WriteItems(const TrainedModel& trained, const fs::path& out) {
  const worker::ModelState& model = *trained.model.state;
  MIXREC_RETURN_IF_ERROR(
      WriteNpy((out / "item_embeddings.npy").string(), model.Tensor("item_proj.weight")));
  MIXREC_RETURN_IF_ERROR(
      WriteNpy((out / "item_bias.npy").string(), model.Tensor("item_proj.bias")));
  const data::Dataset& dataset = trained.materials->dataset;
  std::string items = "index\titem_id\ttitle\n";
  for (int32_t item = 0; item < dataset.items(); ++item) {
    items += StrCat(item, "\t", dataset.item_id(item), "\t", dataset.title(item), "\n");
  }
  return WriteFileAtomic((out / "items.tsv").string(), items);
}

// run.json of the run, its inputs beside it: paths are relative to the folder.
absl::Status WriteRecord(bool own_tokenizer, const fs::path& out) {
  MIXREC_ASSIGN_OR_RETURN(Json record, ReadRunRecord(FLAGS_run));
  record["inputs"]["data"]["path"] = "data";
  record["inputs"]["backbone"]["path"] = "backbone";
  record["inputs"]["tokenizer"]["path"] = own_tokenizer ? "tokenizer" : "backbone";
  record["exported_from"] = FLAGS_run;
  return WriteFileAtomic((out / "run.json").string(), record.dump(2) + "\n");
}

}  // namespace

absl::Status RunExport(const Invocation& invocation) {
  MIXREC_RETURN_IF_ERROR(RequireFlag("out", FLAGS_out));
  const fs::path out = FLAGS_out;
  std::error_code ignored;
  if (fs::exists(out, ignored) && !fs::is_empty(out, ignored)) {
    return UsageError("--out=", FLAGS_out, " is not empty; name a new folder");
  }
  Ranks alone;
  MIXREC_ASSIGN_OR_RETURN(const TrainedModel trained,
                          LoadTrainedModel(invocation, nullptr, &alone));
  const std::string& tokenizer = trained.materials->tokenizer_folder;
  const bool own_tokenizer = !fs::equivalent(tokenizer, FLAGS_backbone, ignored);
  MIXREC_RETURN_IF_ERROR(MakeFolder(FLAGS_out));
  MIXREC_RETURN_IF_ERROR(CopyFiles(FLAGS_backbone, out / "backbone"));
  if (own_tokenizer) MIXREC_RETURN_IF_ERROR(CopyFiles(tokenizer, out / "tokenizer"));
  MIXREC_RETURN_IF_ERROR(CopyFiles(FLAGS_data, out / "data", {".inter", ".item"}));
  MIXREC_RETURN_IF_ERROR(CopyCheckpoint(trained.checkpoint, out));
  MIXREC_RETURN_IF_ERROR(WriteItems(trained, out));
  MIXREC_RETURN_IF_ERROR(WriteRecord(own_tokenizer, out));
  *invocation.out << "exported " << trained.checkpoint << " to " << FLAGS_out
                  << " (next: mixrec recommend --run=" << FLAGS_out << " --history=FILE)"
                  << std::endl;
  return absl::OkStatus();
}

}  // namespace mixrec::launch
