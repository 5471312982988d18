// Training by several ranks as threads, for the tests of worker/.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rank_threads.h"
#include "worker_fixture.h"

namespace mixrec::worker {

using RankResults = std::vector<absl::StatusOr<TrainResult>>;
// What a rank trains with besides the world.
using Inputs = std::function<void(int rank, TrainInputs* inputs)>;

// Rank 0's run folder is `run`; the others' folders must not matter.
inline RankResults TrainRanks(const World& world, collective::LocalWorld* group_world, int ranks,
                              const model::ModelOptions& model, const TrainOptions& options,
                              const std::string& run, const Inputs& set_inputs = nullptr) {
  RankResults results(static_cast<size_t>(ranks), absl::UnknownError("did not run"));
  collective::RunRanks(group_world, ranks, [&](collective::Group* group) {
    TrainInputs inputs = world.inputs();
    inputs.group = group;
    if (set_inputs) set_inputs(group->rank(), &inputs);
    const std::string folder = group->rank() == 0 ? run : "/nowhere";
    auto trainer = Trainer::Create(inputs, model, options, folder);
    auto& result = results[static_cast<size_t>(group->rank())];
    result = trainer.ok() ? (*trainer)->Run() : trainer.status();
  });
  ClearStopRequest();
  return results;
}

inline RankResults TrainRanks(const World& world, int ranks, const model::ModelOptions& model,
                              const TrainOptions& options, const std::string& run,
                              const Inputs& set_inputs = nullptr) {
  collective::LocalWorld group_world(ranks);
  return TrainRanks(world, &group_world, ranks, model, options, run, set_inputs);
}

inline void ExpectAllOk(const RankResults& results) {
  for (const auto& result : results) ASSERT_TRUE(result.ok()) << result.status();
}

// A small world, and what is trained in it with dropout.
class RankTrainingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestFolder();
    world_ = std::make_unique<World>(folder_);
    model_ = SmallModel();
    model_.dropout = 0.1;
    options_ = SmallTraining();
  }
  void TearDown() override { ClearStopRequest(); }
  std::string Run(const std::string& name) const { return Subfolder(folder_, name); }

  std::string folder_;
  std::unique_ptr<World> world_;
  model::ModelOptions model_;
  TrainOptions options_;
};

}  // namespace mixrec::worker
