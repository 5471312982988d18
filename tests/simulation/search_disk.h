// A simulated disk with one file on it: the journal. What was not synced is lost in a crash, or a
// part of it stays.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "scheduler/journal_storage.h"

namespace mixrec::scheduler {

struct Disk {
  std::string durable, cached;  // `cached`: after `durable`, not synced
  // Asked at every write: a number in [0, 1) when the writer dies within it, having written this
  // share; otherwise negative.
  std::function<double()> dies;

  void Crash(double kept) {
    durable += cached.substr(0, static_cast<size_t>(kept * static_cast<double>(cached.size())));
    cached.clear();
  }
};

class SimulatedStorage : public JournalStorage {
 public:
  explicit SimulatedStorage(Disk* disk) : disk_(disk) {}

  absl::StatusOr<std::string> Read() override { return disk_->durable + disk_->cached; }
  absl::Status Append(std::string_view bytes) override {
    const double share = disk_->dies ? disk_->dies() : -1;
    disk_->cached += bytes;
    if (share < 0) return absl::OkStatus();
    disk_->Crash(share);
    return FailureError("the machine has died");
  }
  absl::Status Sync() override {
    disk_->durable += std::exchange(disk_->cached, "");
    return absl::OkStatus();
  }
  absl::Status Truncate(size_t size) override {
    MIXREC_RETURN_IF_ERROR(Sync());
    disk_->durable.resize(size);
    return absl::OkStatus();
  }

 private:
  Disk* disk_;
};

}  // namespace mixrec::scheduler
