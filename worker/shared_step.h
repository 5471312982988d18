// Private to worker/: what the ranks of a group add up in a train step that they share: the dense
// gradient, in buckets that leave while the backward runs, the gradients of embedded rows, and the
// losses.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "collective/bucket_reducer.h"
#include "collective/group.h"
#include "common/status.h"
#include "data/packed_batch.h"
#include "model/mixrec_model.h"
#include "worker/model_state.h"

namespace mixrec::worker {

// What any rank may want after a step. How many ranks do is known to all when the step is done.
struct StepVotes {
  double stop = 0, checkpoint = 0;
};

class SharedStep {
 public:
  // Keeps the pointers.
  SharedStep(collective::Group* group, ModelState* state);

  int64_t bucket_bytes() const { return gradients_.bucket_bytes(); }
  // Before the forward. The batch is data/step_share.h's.
  void Start(const data::PackedBatch& batch, int64_t step);
  // To be given to the model's backward, or to what stands for it on a rank without documents.
  model::MixrecModel::Complete complete();
  // After the backward, the losses being this rank's: the state's dense gradient, `losses` and
  // `d_rows` become sums over the ranks, `d_rows` those of batch.whole's ids where the tables are
  // in the process. `losses`: whatever numbers; on the state's device nothing waits for it.
  absl::Status Finish(const data::PackedBatch& batch, const at::Tensor& losses,
                      model::CfRows* d_rows);
  // The same of losses and votes in host memory.
  absl::Status Finish(const data::PackedBatch& batch, model::Losses* losses, StepVotes* votes,
                      model::CfRows* d_rows);

 private:
  using Ticket = collective::Group::Ticket;

  collective::Group* group_;
  ModelState* state_;
  collective::BucketReducer gradients_;
  std::pair<int64_t, int64_t> layers_;  // what the layers' backward completes
  std::string what_;
};

}  // namespace mixrec::worker
