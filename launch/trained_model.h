// A trained model with what it needs, from a run's folder: for evaluate and recommend.
#pragma once

#include <memory>
#include <ostream>
#include <string>

#include "common/status.h"
#include "launch/materials.h"
#include "launch/program.h"
#include "ps/session.h"
#include "worker/checkpoint.h"

namespace mixrec::launch {

struct TrainedModel {
  std::unique_ptr<Materials> materials;
  std::unique_ptr<ps::Session> session;  // with --ps: the servers that hold the model's tables
  worker::LoadedModel model;             // refers to the materials' backbone
  std::string checkpoint;                // its folder
};

// Loads --checkpoint of --run. Paths come from RUN/run.json unless given, everything else about
// data and model from there; DataError when data, backbone or tokenizer are not those of the run.
// What the data are goes to `out` when it is not null. Commands that take --ps have the tables on
// those servers, in a namespace of these ranks, until DropTables. All ranks call both.
absl::StatusOr<TrainedModel> LoadTrainedModel(const Invocation& invocation, std::ostream* out,
                                              Ranks* ranks);

absl::Status DropTables(TrainedModel* trained, const Ranks& ranks);

}  // namespace mixrec::launch
