// Leave-one-out evaluation over the full catalogue (model.md D31): every item is ranked, ties by
// smaller item index first.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "collective/group.h"
#include "common/status.h"
#include "data/catalogue.h"
#include "data/dataset.h"
#include "data/metrics.h"
#include "worker/model_state.h"

namespace mixrec::worker {

struct EvaluationOptions {
  data::Split split = data::Split::kTest;
  // Leaves the items of the user's input history (all of it, not only the part that is read) out
  // of the ranking, but never the target. Off as in the paper.
  bool mask_seen = false;
  int max_items = 50;                  // inputs read, the last ones
  int64_t max_batch_tokens = 0;        // stream rows of a batch; 0: chosen by the device
  std::vector<int32_t> users;          // empty: all users of the data set
  bool progress = true;                // a progress line on stderr, of rank 0
  collective::Group* group = nullptr;  // ranks that share the users and all get all ranks
};

struct EvaluationResult {
  EvaluationOptions options;
  int64_t candidates = 0;      // items ranked
  std::vector<int32_t> users;  // in the order evaluated: ascending, or as given
  std::vector<int64_t> ranks;  // [users] 1-based rank of the target
  data::RankingSums sums;
  double seconds = 0;
};

// StoppedError when a stop is requested on the way, FailureError when scores are not finite; of a
// group, all ranks return the same.
absl::StatusOr<EvaluationResult> Evaluate(const data::Dataset& dataset,
                                          const data::Catalogue& catalogue,
                                          const EvaluationOptions& options, ModelState* state);

// {"split":…,"metrics":{"NDCG@10":…,…},"protocol":{…},"users":n}: the last line of
// `mixrec evaluate`. Metrics @5, @10, @20 and MRR.
nlohmann::ordered_json ToJson(const EvaluationResult& result);

// "full ranking over 4344 items, seen items kept, ties by item index, last 50 items read".
std::string ProtocolText(const EvaluationResult& result);

// `user<TAB>rank` lines with the data set's user ids.
absl::Status WriteRanks(const data::Dataset& dataset, const EvaluationResult& result,
                        const std::string& path);

const char* SplitName(data::Split split);

}  // namespace mixrec::worker
