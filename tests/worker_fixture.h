// A small world for the tests of worker/: a synthetic data set, a tokenizer trained on it, and a
// tiny random backbone; and comparison of what two runs learnt.
#pragma once

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/file.h"
#include "common/stop_signal.h"
#include "data/catalogue.h"
#include "data/dataset.h"
#include "data/synth.h"
#include "data/tokenizer.h"
#include "model/backbone_create.h"
#include "model/safetensors.h"
#include "tests/test_folder.h"
#include "worker/trainer.h"

namespace mixrec::worker {

inline std::string Subfolder(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  EXPECT_TRUE(MakeFolder(path).ok());
  return path;
}

inline data::Dataset SmallDataset(const std::string& folder, int64_t users, int64_t items) {
  data::SynthOptions synth;
  synth.users = users;
  synth.items = items;
  synth.mean_length = 7;
  EXPECT_TRUE(data::WriteSynthetic(synth, folder).ok());
  data::DatasetOptions options;
  options.folder = folder;
  auto dataset = data::LoadDataset(options);
  EXPECT_TRUE(dataset.ok()) << dataset.status();
  return std::move(*dataset);
}

inline model::Backbone SmallBackbone(int64_t vocabulary) {
  model::OptConfig config;
  config.vocab_size = vocabulary;
  config.hidden = config.word_width = 32;
  config.layers = 2;
  config.heads = 4;
  config.ffn = 64;
  config.max_positions = 512;
  auto backbone = model::RandomBackbone(config, 7, at::kFloat);
  EXPECT_TRUE(backbone.ok()) << backbone.status();
  return *backbone;
}

struct World {
  data::Dataset dataset;
  data::Catalogue catalogue;
  model::Backbone backbone;

  explicit World(const std::string& folder, int64_t users = 60, int64_t items = 40)
      : dataset(SmallDataset(Subfolder(folder, "data"), users, items)) {
    at::set_num_threads(1);  // tensors this small only wait for each other's threads
    std::vector<std::string> texts;
    for (int32_t item = 0; item < dataset.items(); ++item) texts.push_back(dataset.sentence(item));
    const data::Tokenizer tokenizer = data::TrainBpe(texts, 320);
    data::CatalogueOptions options;
    options.max_item_tokens = 8;
    catalogue = data::BuildCatalogue(dataset, tokenizer, options);
    backbone = SmallBackbone(tokenizer.vocab_size());
  }
  World(const World&) = delete;

  TrainInputs inputs() const { return {&dataset, &catalogue, &backbone, nullptr, {}}; }
};

inline model::ModelOptions SmallModel() {
  model::ModelOptions options;
  options.bottleneck = 4;
  options.cf_gmf = options.cf_mlp = 6;
  options.cf_hidden = {8};
  options.inject_user = true;
  return options;
}

inline TrainOptions SmallTraining() {
  TrainOptions options;
  options.epochs = 2;
  options.batch = 8;
  options.learning_rate = 3e-3;
  options.negatives = 2;
  options.log_steps = 1;
  options.tensorboard = options.progress = false;
  return options;
}

// Trains; the stop request, if any, is forgotten afterwards.
inline absl::StatusOr<TrainResult> TrainRun(const TrainInputs& inputs,
                                            const model::ModelOptions& model,
                                            const TrainOptions& options, const std::string& run,
                                            const EpochCallback& on_epoch = nullptr) {
  auto trainer = Trainer::Create(inputs, model, options, run);
  if (!trainer.ok()) return trainer.status();
  auto result = (*trainer)->Run(on_epoch);
  ClearStopRequest();
  return result;
}

inline absl::StatusOr<TrainResult> TrainRun(const World& world, const model::ModelOptions& model,
                                            const TrainOptions& options, const std::string& run,
                                            const EpochCallback& on_epoch = nullptr) {
  return TrainRun(world.inputs(), model, options, run, on_epoch);
}

inline std::map<std::string, at::Tensor> ReadTensors(const std::string& path) {
  auto file = model::SafetensorsFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status();
  std::map<std::string, at::Tensor> tensors;
  for (const std::string& name : file->names()) tensors[name] = *file->Get(name);
  return tensors;
}

inline void ExpectSameTensors(const std::string& a, const std::string& b) {
  const auto left = ReadTensors(a), right = ReadTensors(b);
  EXPECT_FALSE(left.empty());
  ASSERT_EQ(left.size(), right.size());
  for (const auto& [name, tensor] : left) {
    ASSERT_TRUE(right.count(name) > 0) << name;
    EXPECT_TRUE(at::equal(tensor, right.at(name))) << name;
  }
}

// A model over the world with initial values.
inline std::unique_ptr<ModelState> InitialisedState(const World& world) {
  model::ModelOptions options = SmallModel();
  EXPECT_TRUE(model::ValidateModelOptions(2, &options).ok());
  auto state = std::make_unique<ModelState>(world.backbone, options, world.dataset.users(),
                                            world.dataset.items());
  EXPECT_TRUE(state->Initialise(11).ok());
  return state;
}

}  // namespace mixrec::worker
