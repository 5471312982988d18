// Whatever bytes a row file has, it is opened and checked without harm. The checksum of the header
// is put right first, or no mutation of the header would get past it.
#include <cstring>
#include <vector>

#include "ps/snapshot_file.h"

namespace {

using namespace mixrec::ps;  // NOLINT: a main function of sorts

void RepairHeader(char* bytes, size_t size) {
  if (size < kSnapshotPrefix) return;
  uint32_t text = 0;
  std::memcpy(&text, bytes + 12, 4);
  const size_t end = kSnapshotPrefix + size_t{text};
  if (end + 8 > size) return;
  const uint64_t checksum = SnapshotChecksum({bytes, end});
  std::memcpy(bytes + end, &checksum, 8);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint64_t> words((size + 7) / 8);  // aligned, as a mapped file is
  char* bytes = reinterpret_cast<char*>(words.data());
  if (size > 0) std::memcpy(bytes, data, size);
  RepairHeader(bytes, size);
  const auto file = SnapshotFile::Open({bytes, size}, "fuzz");
  if (file.ok()) file->CheckRows().IgnoreError();
  return 0;
}
