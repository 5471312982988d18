#include "collective/bucket_reducer.h"

#include <utility>

#include "common/log.h"

namespace mixrec::collective {

void BucketReducer::Start(at::Tensor flat, std::string what) {
  CHECK(tickets_.empty() && first_ == last_) << "Finish comes before the next Start";
  flat_ = std::move(flat);
  what_ = std::move(what);
}

void BucketReducer::Ready(int64_t first, int64_t last) {
  if (first == last) return;
  const bool adjacent = first_ == last_ || last == first_ || first == last_;
  if (!adjacent) Send();
  if (first_ == last_) {
    first_ = first;
    last_ = last;
  } else {
    first_ = std::min(first_, first);
    last_ = std::max(last_, last);
  }
  const auto bytes = (last_ - first_) * static_cast<int64_t>(flat_.element_size());
  if (bytes >= bucket_bytes_) Send();
}

void BucketReducer::Send() {
  if (first_ == last_) return;
  tickets_.push_back(group_->StartAllReduce(flat_.narrow(0, first_, last_ - first_), what_));
  first_ = last_ = 0;
}

absl::Status BucketReducer::Finish() {
  Send();
  absl::Status status;
  for (const Group::Ticket ticket : tickets_) status.Update(group_->Wait(ticket));
  tickets_.clear();
  return status;
}

}  // namespace mixrec::collective
