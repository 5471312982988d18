// Where a journal's bytes are: a file, or a simulated disk.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "common/status.h"

namespace mixrec::scheduler {

class JournalStorage {
 public:
  virtual ~JournalStorage() = default;
  virtual absl::StatusOr<std::string> Read() = 0;
  // Adds bytes at the end. They may be lost, in part or as a whole, until Sync returns.
  virtual absl::Status Append(std::string_view bytes) = 0;
  virtual absl::Status Sync() = 0;
  // Cuts off everything beyond `size` bytes, durably.
  virtual absl::Status Truncate(size_t size) = 0;
};

// Opens or makes the file and takes its lock (flock) for as long as the object lives. FailureError
// when another process has it.
absl::StatusOr<std::unique_ptr<JournalStorage>> OpenJournalFile(const std::string& path);

}  // namespace mixrec::scheduler
