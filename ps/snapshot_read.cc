#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

#include "common/file.h"
#include "common/log.h"
#include "ps/snapshot.h"
#include "ps/snapshot_file.h"

namespace mixrec::ps {
namespace {

using Json = nlohmann::json;

struct Manifest {
  int64_t step = 0;
  std::vector<Saved> files;
};

// May throw Json::exception.
absl::StatusOr<Manifest> ParseManifest(const Json& json, const std::string& path) {
  if (json.at("format") != "mixrec tables" || json.at("version") != kSnapshotVersion ||
      !json.at("step").is_number_integer() || !json.at("files").is_array()) {
    return DataError(path, " is no manifest of table rows that this program reads");
  }
  Manifest manifest;
  manifest.step = json.at("step").get<int64_t>();
  for (const Json& item : json.at("files")) {
    if (!item.at("bytes").is_number_integer()) return DataError(path, ": a file without a size");
    Saved saved{item.at("file").get<std::string>(), item.at("bytes").get<int64_t>(),
                item.at("hash").get<std::string>()};
    if (saved.file.empty() || saved.file[0] == '.' || saved.file.find('/') != std::string::npos) {
      return DataError(path, " names a file outside its folder: ", saved.file);
    }
    manifest.files.push_back(std::move(saved));
  }
  return manifest;
}

absl::StatusOr<Manifest> ReadManifest(const std::string& folder) {
  const std::string path = folder + "/" + kSnapshotManifest;
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) {
    return DataError("no snapshot of tables in ", folder, ": ", kSnapshotManifest,
                     " is missing, so it was not finished");
  }
  if (!text.ok()) return text.status();
  try {
    return ParseManifest(Json::parse(*text), path);
  } catch (const Json::exception& error) {
    return DataError(path, " is damaged: ", error.what());
  }
}

struct OpenFile {
  MappedFile mapped;
  SnapshotFile file;
};

absl::StatusOr<OpenFile> Open(const std::string& path) {
  auto mapped = MappedFile::Open(path);
  if (!mapped.ok())
    return DataError("a part of the snapshot: ", std::string(mapped.status().message()));
  MIXREC_ASSIGN_OR_RETURN(SnapshotFile file, SnapshotFile::Open(mapped->bytes(), path));
  return OpenFile{std::move(*mapped), std::move(file)};
}

bool SameSpecs(const std::vector<TableSpec>& a, const std::vector<TableSpec>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
}

// The files of a snapshot in the order of their buckets, all of which are there.
absl::StatusOr<std::vector<OpenFile>> OpenWhole(const std::string& folder) {
  MIXREC_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(folder));
  std::vector<OpenFile> files;
  for (const Saved& saved : manifest.files) {
    const std::string path = folder + "/" + saved.file;
    MIXREC_ASSIGN_OR_RETURN(OpenFile file, Open(path));
    const auto bytes = static_cast<int64_t>(file.mapped.bytes().size());
    if (bytes != saved.bytes) {
      return DataError(path, " has ", bytes, " bytes; the manifest says ", saved.bytes);
    }
    if (file.file.header().step != manifest.step) {
      return DataError(path, " is of step ", file.file.header().step, ", the manifest of step ",
                       manifest.step);
    }
    if (!files.empty() && !SameSpecs(file.file.header().tables, files[0].file.header().tables)) {
      return DataError(path, " has other tables than the snapshot's first file");
    }
    files.push_back(std::move(file));
  }
  std::sort(files.begin(), files.end(), [](const OpenFile& a, const OpenFile& b) {
    const BucketRange &x = a.file.header().buckets, &y = b.file.header().buckets;
    return std::tie(x.first, x.last) < std::tie(y.first, y.last);
  });
  int64_t next = 0;
  for (const OpenFile& file : files) {
    if (file.file.header().buckets.first != next) break;
    next = file.file.header().buckets.last;
  }
  if (next != kBuckets || files.empty() || files.back().file.header().buckets.last != kBuckets) {
    return DataError("the snapshot in ", folder, " lacks rows, or has some twice, from bucket ",
                     next, " of ", kBuckets);
  }
  return files;
}

// Whatever can be opened.
std::vector<OpenFile> OpenAny(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<OpenFile> files;
  for (const std::string& path : paths) {
    absl::StatusOr<OpenFile> file = Open(path);
    if (file.ok()) files.push_back(std::move(*file));
  }
  return files;
}

absl::Status CheckAgrees(const TableSpec& found, const TableSpec& wanted,
                         const std::string& folder) {
  const auto parts = [](const TableSpec& spec) {
    std::string text;
    for (const PartSpec& part : spec.parts) text += StrCat(" ", part.name, "[", part.width, "]");
    return text;
  };
  if (found.rows != wanted.rows || parts(found) != parts(wanted)) {
    return DataError("table ", wanted.name, " of the snapshot in ", folder, " has ", found.rows,
                     " rows of", parts(found), "; wanted are ", wanted.rows, " rows of",
                     parts(wanted));
  }
  if (found.optimizer.kind != wanted.optimizer.kind) {
    return DataError("table ", wanted.name, " of the snapshot in ", folder,
                     " was trained with another optimiser");
  }
  return absl::OkStatus();
}

// Writes those rows of a block that the table has; adds their number to `loaded`.
void LoadBlock(const RowLayout& from, int64_t state_width, const SnapshotBlock& block, Table* table,
               int64_t* loaded) {
  std::vector<int64_t> local;
  std::vector<float> state;
  std::vector<int32_t> counts;
  for (int64_t i = 0; i < block.rows; ++i) {
    const int64_t row = table->layout().LocalOf(from.RowOf(block.first + i));
    if (row < 0) continue;
    local.push_back(row);
    state.insert(state.end(), block.state + i * state_width, block.state + (i + 1) * state_width);
    counts.push_back(block.counts[i]);
  }
  table->WriteState(local, state.data(), counts.data());
  *loaded += static_cast<int64_t>(local.size());
}

absl::Status LoadFile(const std::string& folder, const SnapshotFile& file, Table* table,
                      int64_t* loaded) {
  const SnapshotHeader& header = file.header();
  for (size_t index = 0; index < header.tables.size(); ++index) {
    const TableSpec& spec = header.tables[index];
    if (spec.name != table->spec().name) continue;
    MIXREC_RETURN_IF_ERROR(CheckAgrees(spec, table->spec(), folder));
    const bool apart = header.buckets.last <= table->buckets().first ||
                       header.buckets.first >= table->buckets().last;
    if (apart && spec.partition == table->spec().partition) return absl::OkStatus();
    const RowLayout from(spec.partition, spec.rows, header.buckets);
    return file.ForBlocks(index, [&](const SnapshotBlock& block) {
      LoadBlock(from, table->state_width(), block, table, loaded);
      return absl::OkStatus();
    });
  }
  return DataError("the snapshot in ", folder, " has no table ", table->spec().name);
}

}  // namespace

absl::Status CheckSnapshot(const std::string& folder) {
  MIXREC_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(folder));
  MIXREC_ASSIGN_OR_RETURN(const std::vector<OpenFile> files, OpenWhole(folder));
  for (const OpenFile& file : files) MIXREC_RETURN_IF_ERROR(file.file.CheckRows());
  for (const Saved& saved : manifest.files) {
    MIXREC_ASSIGN_OR_RETURN(const std::string hash, FileHash(folder + "/" + saved.file));
    if (hash != saved.hash) {
      return DataError(folder, "/", saved.file, " is not the file that the manifest names");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<SnapshotInfo> ReadSnapshotInfo(const std::string& folder) {
  MIXREC_ASSIGN_OR_RETURN(const std::vector<OpenFile> files, OpenWhole(folder));
  return SnapshotInfo{files[0].file.header().step, files[0].file.header().tables};
}

absl::Status ReadSnapshotTable(const std::string& folder, Table* table, SnapshotTrust trust) {
  int64_t loaded = 0;
  if (trust == SnapshotTrust::kAny) {
    for (const OpenFile& file : OpenAny(folder)) {
      (void)LoadFile(folder, file.file, table, &loaded);
    }
    return absl::OkStatus();
  }
  MIXREC_ASSIGN_OR_RETURN(const std::vector<OpenFile> files, OpenWhole(folder));
  for (const OpenFile& file : files) {
    MIXREC_RETURN_IF_ERROR(LoadFile(folder, file.file, table, &loaded));
  }
  if (loaded != table->layout().local_rows()) {
    return DataError("the snapshot in ", folder, " has ", loaded, " of the ",
                     table->layout().local_rows(), " rows of table ", table->spec().name);
  }
  return absl::OkStatus();
}

absl::Status SetTensors(const NamedTensors& tensors, Table* table) {
  const auto find = [&](const std::string& name) {
    return std::find_if(tensors.begin(), tensors.end(),
                        [&](const auto& tensor) { return tensor.first == name; });
  };
  const NamedTensors state = table->OptimizerState();
  const bool with_state = std::any_of(state.begin(), state.end(), [&](const auto& tensor) {
    return find(tensor.first) != tensors.end();
  });
  NamedTensors targets = table->Values();
  if (with_state) targets.insert(targets.end(), state.begin(), state.end());
  if (!with_state) {
    for (const auto& [name, target] : state) at::Tensor(target).zero_();
  }
  for (const auto& [name, target] : targets) {
    const auto found = find(name);
    if (found == tensors.end())
      return DataError("no tensor ", name, " for table ", table->spec().name);
    const bool flat = found->second.dim() == 1 && target.dim() == 2 && target.size(1) == 1;
    const at::Tensor from = flat ? found->second.unsqueeze(1) : found->second;
    if (from.sizes() != target.sizes()) {
      return DataError("tensor ", name, " has ", from.numel(), " values in ", from.dim(),
                       " dimensions; table ", table->spec().name, " wants ", target.numel());
    }
    at::Tensor(target).copy_(from);
  }
  table->CountsChanged();
  return absl::OkStatus();
}

}  // namespace mixrec::ps
