// What training, search, evaluation and recommendation work on: the data set, its tokenised
// catalogue, and the backbone, loaded as the flags say.
#pragma once

#include <memory>
#include <ostream>
#include <string>

#include "common/status.h"
#include "data/catalogue.h"
#include "data/dataset.h"
#include "data/mined_hard_samples.h"
#include "data/tokenizer.h"
#include "launch/options.h"
#include "launch/program.h"
#include "launch/ranks.h"
#include "launch/run_folder.h"
#include "model/backbone.h"
#include "model/options.h"
#include "worker/trainer.h"

namespace mixrec::launch {

struct Materials {
  Compute compute;
  data::Dataset dataset;
  std::unique_ptr<data::Tokenizer> tokenizer;
  std::string tokenizer_folder;
  model::OptConfig config;                               // of the backbone
  model::ModelOptions options;                           // validated against it
  model::Backbone backbone;                              // after LoadBackboneInto
  data::Catalogue catalogue;                             // after LoadCatalogueInto
  std::unique_ptr<data::MinedHardSamples> hard_samples;  // after LoadHardSamplesInto; may be null
  std::string cf_hash;                                   // after FindCfInto; empty without --cf
};

// Data, tokenizer and the backbone's configuration, checked against each other; prints what the
// data are on `out` when it is not null. The backbone's weights are not read.
absl::StatusOr<std::unique_ptr<Materials>> LoadMaterials(std::ostream* out);

// The weights, onto the device.
absl::Status LoadBackboneInto(Materials* materials);

// The mined sets of --hard_samples, if it names any.
absl::Status LoadHardSamplesInto(Materials* materials);

// The frozen CF model of --cf, if it names any.
absl::Status FindCfInto(Materials* materials);

// The tokenised catalogue, through FOLDER/catalogue.cache (no cache for an empty folder). Ranks,
// which all call it, share what is to be tokenised.
absl::Status LoadCatalogueInto(const std::string& folder, Materials* materials,
                               const Ranks& ranks = Ranks());

// The request for a run of this command on these materials (the backbone must be loaded).
RunRequest RequestOf(const Invocation& invocation, const Materials& materials);

// Opens --out for this command and sends log messages there. All ranks call it.
absl::StatusOr<RunFolder> OpenRun(const Invocation& invocation, const Materials& materials,
                                  const Ranks& ranks);

// Pointers into the materials, which must stay where they are.
worker::TrainInputs InputsOf(const Materials& materials);

}  // namespace mixrec::launch
