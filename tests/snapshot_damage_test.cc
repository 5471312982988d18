// A snapshot that is damaged in any way is never loaded.
#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <string>

#include "ps/snapshot_file.h"
#include "snapshot_fixture.h"
#include "test_folder.h"

namespace mixrec::ps {
namespace {

// A small snapshot of one file, and its bytes.
struct SmallSnapshot {
  SmallSnapshot() : folder(TestFolder()) {
    EXPECT_TRUE(Save(folder, 1, MakeShards(1, 4)).ok());
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() == ".bin") path = entry.path().string();
    }
    bytes = *ReadFile(path);
    manifest = *ReadFile(folder + "/" + kSnapshotManifest);
  }
  std::string folder, path, bytes, manifest;
};

// Unlike WriteFileAtomic it does not wait for the disk.
void Overwrite(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// As CheckSnapshot, without a disk: the bytes where a file's would be.
absl::Status CheckBytes(const std::string& bytes) {
  MIXREC_ASSIGN_OR_RETURN(const SnapshotFile file, SnapshotFile::Open(bytes, "file"));
  return file.CheckRows();
}

TEST(Snapshot, CutOffAnywhereIsNeverLoaded) {
  const SmallSnapshot snapshot;
  ASSERT_TRUE(CheckBytes(snapshot.bytes).ok());
  for (size_t size = 0; size < snapshot.bytes.size(); ++size) {
    const absl::Status status = CheckBytes(snapshot.bytes.substr(0, size));
    ASSERT_TRUE(absl::IsDataLoss(status)) << size << " bytes: " << status;
  }
  EXPECT_TRUE(absl::IsDataLoss(CheckBytes(snapshot.bytes + std::string(8, '\0'))));
  for (const size_t size : {size_t{0}, snapshot.bytes.size() / 2, snapshot.bytes.size() - 1}) {
    Overwrite(snapshot.path, snapshot.bytes.substr(0, size));
    EXPECT_TRUE(absl::IsDataLoss(CheckSnapshot(snapshot.folder)));
  }
}

TEST(Snapshot, WithAnyBitFlippedIsNeverLoaded) {
  const SmallSnapshot snapshot;
  std::string bytes = snapshot.bytes;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char bit = static_cast<char>(1 << (i % 8));
    bytes[i] = static_cast<char>(bytes[i] ^ bit);
    ASSERT_TRUE(absl::IsDataLoss(CheckBytes(bytes))) << "byte " << i;
    bytes[i] = static_cast<char>(bytes[i] ^ bit);
  }
}

TEST(Snapshot, ADamagedManifestIsRefused) {
  const SmallSnapshot snapshot;
  const std::string path = snapshot.folder + "/" + kSnapshotManifest;
  for (size_t i = 0; i < snapshot.manifest.size(); ++i) {
    if (std::isspace(snapshot.manifest[i]) != 0) continue;
    std::string damaged = snapshot.manifest;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    Overwrite(path, damaged);
    ASSERT_TRUE(absl::IsDataLoss(CheckSnapshot(snapshot.folder))) << damaged;
    Overwrite(path, snapshot.manifest.substr(0, i));
    ASSERT_TRUE(absl::IsDataLoss(CheckSnapshot(snapshot.folder))) << i << " bytes";
  }
}

TEST(Snapshot, AManifestMayNotPointOutside) {
  const SmallSnapshot snapshot;
  const std::string path = snapshot.folder + "/" + kSnapshotManifest;
  std::string outside = snapshot.manifest;
  outside.replace(outside.find("rows-"), 5, "../x-");
  Overwrite(path, outside);
  EXPECT_TRUE(absl::IsDataLoss(CheckSnapshot(snapshot.folder)));
}

}  // namespace
}  // namespace mixrec::ps
