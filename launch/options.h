// From flags to the option structs of the rooms. Values are in range already (flag_ranges.h); what
// is checked here are lists and combinations.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "common/status.h"
#include "data/catalogue.h"
#include "data/dataset.h"
#include "data/synth.h"
#include "model/options.h"
#include "worker/trainer.h"

namespace mixrec::launch {

// UsageError naming the flag when a value that the command cannot do without is empty.
absl::Status RequireFlag(const std::string& name, const std::string& value);

// "a,b,c" -> {"a", "b", "c"}, blanks around the parts cut off, empty parts dropped.
std::vector<std::string> SplitList(const std::string& text);

data::SynthOptions SynthOptionsOfFlags();
data::DatasetOptions DatasetOptionsOfFlags();
data::CatalogueOptions CatalogueOptionsOfFlags();
absl::StatusOr<model::ModelOptions> ModelOptionsOfFlags();
// With `epochs` as given: a run's, or a trial's.
absl::StatusOr<worker::TrainOptions> TrainOptionsOfFlags(int64_t epochs);

worker::StepPadding PaddingOfFlags();

// Where and in what type the model computes.
struct Compute {
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;
};
// Resolves --device and --precision and sets the number of threads. UsageError when a GPU is asked
// for and there is none, or the build cannot use it.
absl::StatusOr<Compute> SetUpCompute();

// "cpu, fp32, 2 threads".
std::string Describe(const Compute& compute);

// --devices as values of CUDA_VISIBLE_DEVICES, one for each of the processes that take turns; empty
// when there is nothing to divide.
absl::StatusOr<std::vector<std::string>> DevicesOfFlags();

}  // namespace mixrec::launch
