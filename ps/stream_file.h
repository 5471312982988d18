// A file that is written in pieces and is there as a whole or not at all.
#pragma once

#include <xxhash.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/status.h"

namespace mixrec::ps {

// One thread. Destroyed before Commit, it leaves nothing.
class StreamFile {
 public:
  // A file of a temporary name in `folder`, which is there.
  static absl::StatusOr<StreamFile> Create(const std::string& folder);
  StreamFile(StreamFile&& other) noexcept;
  StreamFile& operator=(StreamFile&&) = delete;
  ~StreamFile();

  // A full disk is a Failure that names the folder.
  absl::Status Append(std::string_view bytes);
  int64_t bytes() const { return bytes_; }
  // XXH3-128 of what was appended so far, as common/file.h writes it.
  std::string Hash() const;
  XXH128_hash_t Digest() const { return XXH3_128bits_digest(hash_.get()); }

  // Flushes to the disk and renames, so that also a crash leaves the whole file or none.
  absl::Status Commit(const std::string& name);

 private:
  StreamFile(std::string folder, std::string temporary, int fd);
  absl::Status Error(std::string_view what) const;

  struct FreeHash {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::string folder_, temporary_;
  int fd_ = -1;
  int64_t bytes_ = 0;
  std::unique_ptr<XXH3_state_t, FreeHash> hash_;
};

}  // namespace mixrec::ps
