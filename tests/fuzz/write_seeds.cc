// write_fuzz_seeds FOLDER: what the fuzzers start from, one file an example, in FOLDER/messages and
// FOLDER/snapshots.
#include <xxhash.h>

#include <iostream>

#include "../wire_samples.h"
#include "common/file.h"
#include "fuzz_message.h"
#include "ps/codec.h"
#include "ps/snapshot_format.h"

namespace mixrec::ps {
namespace {

absl::Status WriteMessages(const std::string& folder) {
  MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
  for (const Body& body : SampleBodies()) {
    const std::string bytes = BytesOf(Encode(SampleWire(body)));
    MIXREC_RETURN_IF_ERROR(WriteFileAtomic(StrCat(folder, "/", body.index()), bytes));
  }
  return absl::OkStatus();
}

template <typename T>
void Append(T value, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// A table's blocks, of zeros.
void AppendRows(const SnapshotTable& table, std::string* bytes) {
  const int64_t rows = table.layout.local_rows();
  for (int64_t first = 0; first < rows; first += table.block_rows) {
    const int64_t count = std::min(table.block_rows, rows - first);
    const std::string state(static_cast<size_t>(count * table.row_bytes), '\0');
    Append(static_cast<uint32_t>(count), bytes);
    Append(uint32_t{0}, bytes);
    Append(SnapshotChecksum(state), bytes);
    *bytes += state;
  }
}

std::string RowFile(int64_t rows) {
  SnapshotHeader header;
  header.step = 3;
  header.tables = {SampleSpec()};
  header.tables[0].rows = rows;
  const std::string text = HeaderText(header);
  std::string bytes(kSnapshotMagic);
  Append(kSnapshotVersion, &bytes);
  Append(static_cast<uint32_t>(text.size()), &bytes);
  bytes += text;
  Append(SnapshotChecksum(bytes), &bytes);
  for (const TableSpec& spec : header.tables) {
    AppendRows(SnapshotTable(spec, header.buckets), &bytes);
  }
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  const uint64_t size = bytes.size() + kSnapshotFooter;
  bytes += kSnapshotEnd;
  for (const uint64_t word : {size, uint64_t{hash.high64}, uint64_t{hash.low64}}) {
    Append(word, &bytes);
  }
  return bytes;
}

absl::Status WriteSnapshots(const std::string& folder) {
  MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
  for (const int64_t rows : {0, 1, 5}) {
    MIXREC_RETURN_IF_ERROR(WriteFileAtomic(StrCat(folder, "/", rows), RowFile(rows)));
  }
  return absl::OkStatus();
}

absl::Status WriteSeeds(const std::string& folder) {
  MIXREC_RETURN_IF_ERROR(WriteMessages(folder + "/messages"));
  return WriteSnapshots(folder + "/snapshots");
}

}  // namespace
}  // namespace mixrec::ps

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: write_fuzz_seeds FOLDER\n";
    return mixrec::kExitUsage;
  }
  const absl::Status status = mixrec::ps::WriteSeeds(argv[1]);
  if (!status.ok()) std::cerr << status.message() << "\n";
  return mixrec::ExitCodeOf(status);
}
