// A table of rows on a parameter server.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "ps/session.h"
#include "worker/tables.h"
#include "worker/wait_clock.h"

namespace mixrec::worker {

class RemoteTable : public ParameterTable {
 public:
  // Keeps the pointer. Rows come to `device`.
  RemoteTable(const ps::TableSpec& spec, at::Device device, ps::Session* session);

  // Makes the table on the servers.
  absl::Status Initialise(uint64_t seed) override;
  void Prefetch(int64_t step, const std::vector<int32_t>& ids) override;
  absl::StatusOr<at::Tensor> Pull(int64_t step, const std::vector<int32_t>& ids) override;
  // Returns at once, but for the push before: one is on its way at any time.
  absl::Status Push(int64_t step, const std::vector<int32_t>& ids, const at::Tensor& gradients,
                    double learning_rate) override;
  absl::Status Settle() override;
  double waited_seconds() const override { return waits_.seconds(); }

 private:
  struct Pending {
    ps::Session::Ticket ticket;
    int64_t step;
    std::vector<int32_t> ids;
  };

  ps::TableSpec spec_;
  at::Device device_;
  ps::Session* session_;
  std::optional<Pending> pull_;
  std::optional<ps::Session::Ticket> push_;
  WaitClock waits_;
};

}  // namespace mixrec::worker
