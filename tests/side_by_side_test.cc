// Trainings in threads that step together: each ends with what it would have learnt alone, whoever
// ends, fails or comes meanwhile.
#include "worker/side_by_side.h"

#include <gtest/gtest.h>

#include <future>
#include <nlohmann/json.hpp>
#include <sstream>

#include "worker/search_objective.h"
#include "worker_fixture.h"

namespace mixrec::worker {
namespace {

constexpr std::chrono::milliseconds kPatience(300);

class SideBySideTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestFolder();
    world_ = std::make_unique<World>(folder_);
  }
  SearchObjective Objective(const std::string& name, SideBySide* others) const {
    SearchObjectiveOptions options;
    options.train = SmallTraining();
    options.fraction = 0.5;
    options.folder = Subfolder(folder_, name);
    TrainInputs inputs = world_->inputs();
    inputs.others = others;
    return SearchObjective(inputs, SmallModel(), options);
  }
  // A training in a thread of its own.
  static std::future<absl::StatusOr<TrialOutcome>> Start(
      const SearchObjective& objective, const TrialSpec& spec,
      SearchObjective::IntermediateCallback on_epoch = nullptr) {
    return std::async(std::launch::async,
                      [=, &objective] { return objective.Evaluate(spec, on_epoch); });
  }
  static TrialSpec Spec(int number, const std::string& bits) {
    TrialSpec spec;
    spec.number = number;
    spec.bits = bits;
    return spec;
  }
  // The losses that a trial logged, in turn.
  std::vector<double> Logged(const std::string& name, int trial) const {
    std::vector<double> losses;
    const auto text = ReadFile(StrCat(folder_, "/", name, "/trial-", trial, "/metrics.jsonl"));
    EXPECT_TRUE(text.ok()) << text.status();
    std::istringstream lines(*text);
    for (std::string line; std::getline(lines, line);) {
      const auto json = nlohmann::json::parse(line);
      if (json.contains("loss")) losses.push_back(json["loss"].get<double>());
    }
    EXPECT_FALSE(losses.empty());
    return losses;
  }
  void ExpectSameLosses(int trial, const std::string& name, const std::string& other) const {
    const std::vector<double> have = Logged(name, trial), want = Logged(other, trial);
    ASSERT_EQ(have.size(), want.size()) << trial;
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(have[i], want[i], 2e-4) << trial;
  }

  std::string folder_;
  std::unique_ptr<World> world_;
};

TEST_F(SideBySideTest, TrialsLearnWhatTheyLearnAlone) {
  const std::vector<std::string> bits = {"010011", "111111", "000000"};
  SideBySide others(at::kCPU, 3, std::chrono::seconds(60));
  {
    const SearchObjective together = Objective("together", &others);
    std::vector<std::future<absl::StatusOr<TrialOutcome>>> trials;
    for (int i = 0; i < 3; ++i) trials.push_back(Start(together, Spec(i, bits[i])));
    for (auto& trial : trials) ASSERT_TRUE(trial.get().ok());
  }
  EXPECT_EQ(others.most_together(), 3);
  const SearchObjective alone = Objective("alone", nullptr);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(alone.Evaluate(i, bits[i]).ok());
    ExpectSameLosses(i, "together", "alone");
  }
}

TEST_F(SideBySideTest, OneThatEndsEarlyMakesRoomForTheNext) {
  SideBySide others(at::kCPU, 2, kPatience);
  const SearchObjective together = Objective("together", &others);
  auto long_one = Start(together, Spec(0, "010011"));
  auto short_one = Start(together, Spec(1, "111111"), [](int, double) { return false; });
  const auto ended = short_one.get();
  ASSERT_TRUE(ended.ok());
  EXPECT_EQ(ended->epochs, 1);
  auto next = Start(together, Spec(2, "000111"));
  ASSERT_TRUE(long_one.get().ok());
  ASSERT_TRUE(next.get().ok());
  const SearchObjective alone = Objective("alone", nullptr);
  for (const auto& spec : {Spec(0, "010011"), Spec(2, "000111")}) {
    ASSERT_TRUE(alone.Evaluate(spec).ok());
    ExpectSameLosses(spec.number, "together", "alone");
  }
}

TEST_F(SideBySideTest, OneThatIsStoppedInTheMiddleOfAnEpochLeavesTheOthersAlone) {
  SideBySide others(at::kCPU, 2, kPatience);
  const SearchObjective together = Objective("together", &others);
  TrialSpec stopped = Spec(1, "111111");
  stopped.stop = [asked = 0]() mutable { return ++asked > 2; };
  auto whole = Start(together, Spec(0, "010011"));
  auto part = Start(together, stopped);
  EXPECT_TRUE(absl::IsCancelled(part.get().status()));
  ASSERT_TRUE(Start(together, Spec(1, "111111")).get().ok());
  ASSERT_TRUE(whole.get().ok());
  const SearchObjective alone = Objective("alone", nullptr);
  for (const auto& spec : {Spec(0, "010011"), Spec(1, "111111")}) {
    ASSERT_TRUE(alone.Evaluate(spec).ok());
    ExpectSameLosses(spec.number, "together", "alone");
  }
}

// What one step cannot be for all is done in two.
TEST_F(SideBySideTest, TrialsOfDifferentDepthStepOneAfterAnother) {
  SideBySide others(at::kCPU, 2, std::chrono::seconds(60));
  const SearchObjective together = Objective("together", &others);
  TrialSpec sparse = Spec(1, "101");
  sparse.replace_every = 2;
  auto first = Start(together, Spec(0, "010011"));
  auto second = Start(together, sparse);
  ASSERT_TRUE(first.get().ok());
  ASSERT_TRUE(second.get().ok());
  const SearchObjective alone = Objective("alone", nullptr);
  for (const auto& spec : {Spec(0, "010011"), sparse}) {
    ASSERT_TRUE(alone.Evaluate(spec).ok());
    ExpectSameLosses(spec.number, "together", "alone");
  }
}

}  // namespace
}  // namespace mixrec::worker
