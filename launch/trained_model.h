// A trained model with what it needs, from a run's folder: for evaluate and recommend.
#pragma once

#include <memory>
#include <ostream>
#include <string>

#include "common/status.h"
#include "launch/materials.h"
#include "launch/program.h"
#include "worker/checkpoint.h"

namespace mixrec::launch {

struct TrainedModel {
  std::unique_ptr<Materials> materials;
  worker::LoadedModel model;  // refers to the materials' backbone
  std::string checkpoint;     // its folder
};

// Loads --checkpoint of --run. Paths come from RUN/run.json unless given, everything else about
// data and model from there; DataError when data, backbone or tokenizer are not those of the run.
// What the data are goes to `out` when it is not null.
absl::StatusOr<TrainedModel> LoadTrainedModel(const Invocation& invocation, std::ostream* out);

}  // namespace mixrec::launch
