// Sums a flat gradient over the ranks while it is still being made: parts leave in buckets as soon
// as they are complete.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "collective/group.h"

namespace mixrec::collective {

class BucketReducer {
 public:
  // A bucket is sent when it has at least `bucket_bytes`.
  BucketReducer(Group* group, int64_t bucket_bytes) : group_(group), bucket_bytes_(bucket_bytes) {}

  int64_t bucket_bytes() const { return bucket_bytes_; }
  // A new step: its gradient [size], contiguous, fp32, and its name in messages.
  void Start(at::Tensor flat, std::string what);
  // Elements [first, last) are complete. The same ranges in the same order on every rank; each
  // element once.
  void Ready(int64_t first, int64_t last);
  // What is left leaves now; waits for all of it.
  absl::Status Finish();

 private:
  void Send();

  Group* group_;
  int64_t bucket_bytes_;
  at::Tensor flat_;
  std::string what_;
  int64_t first_ = 0, last_ = 0;  // complete and not sent
  std::vector<Group::Ticket> tickets_;
};

}  // namespace mixrec::collective
