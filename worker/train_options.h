// Private to worker/: checks and the text form of TrainOptions.
#pragma once

#include <nlohmann/json.hpp>

#include "common/status.h"
#include "ps/session.h"
#include "worker/model_card.h"
#include "worker/trainer.h"

namespace mixrec::worker {

// UsageError naming the flag that is out of range.
absl::Status CheckTrainOptions(const TrainOptions& options);

// The options that decide the result, model and inputs included: what a resumed run must share.
// Where tables live does not.
nlohmann::ordered_json DecidingOptions(const TrainOptions& options, const ModelCard& card,
                                       const ps::Sampling& sampling);

// UsageError listing the options that differ from those of the checkpoint.
absl::Status CompareOptions(const nlohmann::ordered_json& now, const nlohmann::ordered_json& then,
                            const std::string& checkpoint);

}  // namespace mixrec::worker
