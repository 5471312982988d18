// Private to worker/: sequences through the model in batches of similar lengths.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "collective/group.h"
#include "common/status.h"
#include "data/batcher.h"
#include "data/catalogue.h"
#include "worker/model_state.h"

namespace mixrec::worker {

struct QueryRunnerOptions {
  int max_items = 50;
  int64_t max_batch_tokens = 0;        // 0: chosen by the device
  collective::Group* group = nullptr;  // ranks that share the batches: every size()-th is one's own
};

// With a group, all ranks call it, keep in step, and have the same failure; who has one that is not
// agreed on (IsAgreed) must agree with the others next. Calls consume(indices into `queries`, their
// last [SEQ] states [N, D]) batch after batch, each query once (of this rank's batches); N is small
// enough for [N, items] scores. Ends at the first failure. StoppedError when a stop is requested
// between two batches, FailureError when a state is not finite.
absl::Status RunQueries(
    const data::Catalogue& catalogue, const std::vector<data::EvaluationQuery>& queries,
    const QueryRunnerOptions& options, ModelState* state,
    const std::function<absl::Status(absl::Span<const int32_t>, const at::Tensor&)>& consume);

}  // namespace mixrec::worker
