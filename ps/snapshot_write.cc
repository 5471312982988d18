#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "common/file.h"
#include "common/log.h"
#include "ps/snapshot.h"
#include "ps/snapshot_format.h"
#include "ps/stream_file.h"

namespace mixrec::ps {
namespace {

constexpr std::string_view kRowFilePrefix = "rows-", kRowFileSuffix = ".bin";

template <typename T>
void AppendNumber(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

absl::Status WriteHead(const SnapshotContent& content, StreamFile* file) {
  SnapshotHeader header{content.step, content.buckets, {}};
  for (const Table* table : content.tables) header.tables.push_back(table->spec());
  const std::string text = HeaderText(header);
  std::string head(kSnapshotMagic);
  AppendNumber(kSnapshotVersion, &head);
  AppendNumber(static_cast<uint32_t>(text.size()), &head);
  head += text;
  AppendNumber(SnapshotChecksum(head), &head);
  return file->Append(head);
}

absl::Status WriteRows(const Table& table, BucketRange buckets, StreamFile* file) {
  CHECK(table.buckets() == buckets) << "table " << table.spec().name << " has other buckets";
  const SnapshotTable sizes(table.spec(), buckets);
  const int64_t total = sizes.layout.local_rows();
  std::string rows;
  for (int64_t first = 0; first < total; first += sizes.block_rows) {
    const int64_t count = std::min(sizes.block_rows, total - first);
    rows.resize(static_cast<size_t>(count * sizes.row_bytes));
    auto* state = reinterpret_cast<float*>(rows.data());
    table.ReadState(first, count, state,
                    reinterpret_cast<int32_t*>(state + count * sizes.state_width));
    std::string head;
    AppendNumber(static_cast<uint32_t>(count), &head);
    AppendNumber(uint32_t{0}, &head);
    AppendNumber(SnapshotChecksum(rows), &head);
    MIXREC_RETURN_IF_ERROR(file->Append(head));
    MIXREC_RETURN_IF_ERROR(file->Append(rows));
  }
  return absl::OkStatus();
}

absl::Status WriteFooter(StreamFile* file) {
  const XXH128_hash_t hash = file->Digest();
  std::string footer(kSnapshotEnd);
  AppendNumber(static_cast<uint64_t>(file->bytes() + kSnapshotFooter), &footer);
  AppendNumber(uint64_t{hash.high64}, &footer);
  AppendNumber(uint64_t{hash.low64}, &footer);
  return file->Append(footer);
}

// Row files that the manifest does not name belong to an older snapshot. One that stays is
// harmless.
void RemoveOthers(const std::string& folder, const std::set<std::string>& named) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const bool rows = name.size() > kRowFilePrefix.size() + kRowFileSuffix.size() &&
                      name.compare(0, kRowFilePrefix.size(), kRowFilePrefix) == 0 &&
                      entry.path().extension() == kRowFileSuffix;
    if (rows && named.count(name) == 0) std::filesystem::remove(entry.path(), error);
  }
}

}  // namespace

absl::StatusOr<Saved> WriteSnapshotFile(const std::string& folder, const SnapshotContent& content) {
  MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
  MIXREC_ASSIGN_OR_RETURN(StreamFile file, StreamFile::Create(folder));
  MIXREC_RETURN_IF_ERROR(WriteHead(content, &file));
  for (const Table* table : content.tables) {
    MIXREC_RETURN_IF_ERROR(WriteRows(*table, content.buckets, &file));
  }
  MIXREC_RETURN_IF_ERROR(WriteFooter(&file));
  Saved saved;
  saved.bytes = file.bytes();
  saved.hash = file.Hash();
  saved.file = StrCat(kRowFilePrefix, content.buckets.first, "-", content.buckets.last, "-",
                      saved.hash.substr(0, 16), kRowFileSuffix);
  MIXREC_RETURN_IF_ERROR(file.Commit(saved.file));
  return saved;
}

absl::Status WriteSnapshotManifest(const std::string& folder, int64_t step,
                                   const std::vector<Saved>& files) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  std::set<std::string> named;
  for (const Saved& saved : files) {
    if (!PathExists(folder + "/" + saved.file)) {
      return DataError("a shard wrote ", saved.file, ", and it is not in ", folder,
                       ": the servers must see the folder under the same path");
    }
    named.insert(saved.file);
    list.push_back({{"file", saved.file}, {"bytes", saved.bytes}, {"hash", saved.hash}});
  }
  const nlohmann::ordered_json manifest = {
      {"format", "mixrec tables"}, {"version", kSnapshotVersion}, {"step", step}, {"files", list}};
  MIXREC_RETURN_IF_ERROR(
      WriteFileAtomic(folder + "/" + kSnapshotManifest, manifest.dump(1) + "\n"));
  RemoveOthers(folder, named);
  return absl::OkStatus();
}

absl::Status WriteSnapshot(const std::string& folder, int64_t step,
                           const std::vector<const Table*>& tables) {
  MIXREC_ASSIGN_OR_RETURN(const Saved saved, WriteSnapshotFile(folder, {step, {}, tables}));
  return WriteSnapshotManifest(folder, step, {saved});
}

}  // namespace mixrec::ps
