// A worker group: the processes that share one model, and the sums they make together.
//
// Implementations: host_group.h for tensors on the CPU, over MPI (mpi_world.h) or between threads
// of a test (local_world.h); nccl_group.h for tensors on a GPU.
//
// Every rank calls the same operations in the same order. Sums are taken in rank order, or, on
// GPUs, in an order that NCCL fixes for a layout, so that equal inputs give equal bits, on every
// rank and in every run.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"

namespace mixrec::collective {

struct Member {
  int rank = 0;  // in the group
  std::string host;
  int64_t process = 0;
  int local_rank = 0;  // among the members on its host
};

// "rank 5 on node03".
std::string Describe(const Member& member);

// One thread at a time. A failure is final: whoever it is, all operations of this group, and of the
// groups of the same world, fail from then on, and the others are told why. Its message names who
// is missing: "rank 5 on node03 did not come to the gradients of step 12 in 60 s".
class Group {
 public:
  using Ticket = uint64_t;

  virtual ~Group() = default;

  virtual int rank() const = 0;
  virtual const std::vector<Member>& members() const = 0;
  int size() const { return static_cast<int>(members().size()); }
  const Member& self() const { return members()[static_cast<size_t>(rank())]; }

  // Operations are started, and go on while the caller computes. `what` is for messages: "the
  // gradients of step 12". Tensors are contiguous, and left alone until Wait; the operation keeps
  // them until it is over. Types: fp32, fp64, int32, int64, and, where nothing is added, any.
  //
  // Adds up `tensor` over the ranks, in place.
  virtual Ticket StartAllReduce(at::Tensor tensor, const std::string& what) = 0;
  // `all` [size, ...] gets every rank's `mine` [...], rank by rank.
  virtual Ticket StartAllGather(const at::Tensor& mine, at::Tensor all,
                                const std::string& what) = 0;
  // `mine` [...] gets the sum over the ranks of their all[rank()], `all` being [size, ...].
  virtual Ticket StartReduceScatter(const at::Tensor& all, at::Tensor mine,
                                    const std::string& what) = 0;
  // Everybody's `tensor` becomes that of `root`.
  virtual Ticket StartBroadcast(at::Tensor tensor, int root, const std::string& what) = 0;
  // Waits until the operation is done; on a GPU, until what is launched next will see it.
  absl::Status Wait(Ticket ticket);
  // Why the group has ended; OK: it has not. On a GPU what was waited for counts only if this is OK
  // once the device has done it.
  virtual absl::Status failure() const = 0;
  // Seconds spent in Wait so far.
  double waited_seconds() const { return waited_seconds_; }

  absl::Status AllReduce(at::Tensor tensor, const std::string& what) {
    return Wait(StartAllReduce(std::move(tensor), what));
  }
  absl::Status AllGather(const at::Tensor& mine, at::Tensor all, const std::string& what) {
    return Wait(StartAllGather(mine, std::move(all), what));
  }
  absl::Status ReduceScatter(const at::Tensor& all, at::Tensor mine, const std::string& what) {
    return Wait(StartReduceScatter(all, std::move(mine), what));
  }
  absl::Status Broadcast(at::Tensor tensor, int root, const std::string& what) {
    return Wait(StartBroadcast(std::move(tensor), root, what));
  }
  // Returns when all are here.
  absl::Status Barrier(const std::string& what);

  // For measurements: from now on, how long the GPU's stream stood still in Wait; and that time
  // since it was last taken, for which the device is waited for. 0 without a GPU.
  virtual void set_measures_device_waits(bool /*measures*/) {}
  virtual double TakeDeviceWaitSeconds() { return 0; }

  // Seconds that operations started from now on may take, all ranks' coming included.
  virtual void set_patience(double seconds) = 0;
  virtual double patience() const = 0;

  // Ends the group because this rank cannot go on: the others' operations fail, now and later, with
  // this reason and its code. Any thread.
  virtual void Abort(const absl::Status& reason) = 0;

 protected:
  virtual absl::Status DoWait(Ticket ticket) = 0;

 private:
  double waited_seconds_ = 0;
};

// More patience while it lives, for what takes one rank long: reading data, writing a checkpoint.
class Patience {
 public:
  Patience(Group* group, double seconds) : group_(group), before_(group->patience()) {
    group->set_patience(seconds);
  }
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;
  ~Patience() { group_->set_patience(before_); }

 private:
  Group* group_;
  double before_;
};

// --- words, for what is said once: flags, addresses, failures ---

// Everybody's `text` becomes that of `root`.
absl::Status BroadcastText(Group* group, int root, const std::string& what, std::string* text);

// Every rank's text, rank by rank.
absl::StatusOr<std::vector<std::string>> GatherTexts(Group* group, const std::string& mine,
                                                     const std::string& what);

// OK when every rank's status is; otherwise the failure of the lowest rank that has one, with its
// name in front where it is another's. All ranks return the same kind.
absl::Status Agree(Group* group, const absl::Status& mine, const std::string& what);
// Whether a failure came from Agree, so that all ranks have it.
bool IsAgreed(const absl::Status& status);

}  // namespace mixrec::collective
