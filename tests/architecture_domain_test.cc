#include "bo_driver/architecture_domain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bo_driver/prior.h"

namespace mixrec::bo_driver {
namespace {

using ::testing::HasSubstr;

std::vector<Dimension> Dimensions(const std::string& text) {
  return ParseDimensions(text, "space.txt").value();
}

std::string Complaint(const std::string& text) {
  const auto dimensions = ParseDimensions(text, "space.txt");
  EXPECT_EQ(ExitCodeOf(dimensions.status()), kExitUsage);
  return std::string(dimensions.status().message());
}

TEST(ArchitectureDomain, SpaceFileHasALineADimension) {
  const auto dimensions = Dimensions(
      "# what is searched\n\n replace_every ordinal 1,2,3 # r\n"
      "bottleneck\tlog 16,32,64\r\n");
  ASSERT_EQ(dimensions.size(), 2u);
  EXPECT_EQ(DimensionLine(dimensions[0]), "replace_every ordinal 1,2,3");
  EXPECT_EQ(DimensionLine(dimensions[1]), "bottleneck log 16,32,64");
}

TEST(ArchitectureDomain, MistakesInASpaceFileAreNamedWithTheirLine) {
  EXPECT_THAT(Complaint("\nbottleneck log"), HasSubstr("space.txt:2: expected `name type range`"));
  EXPECT_THAT(Complaint("width log 1,2"), HasSubstr("unknown dimension \"width\""));
  EXPECT_THAT(Complaint("bottleneck linear 1,2"), HasSubstr("unknown type \"linear\""));
  EXPECT_THAT(Complaint("bottleneck log 32,16"), HasSubstr("do not increase"));
  EXPECT_THAT(Complaint("bottleneck log 16"), HasSubstr("found 1 levels"));
  EXPECT_THAT(Complaint("bottleneck log 16,x"), HasSubstr("whole numbers"));
  EXPECT_THAT(Complaint("bottleneck log 1,2\nbottleneck log 1,2"), HasSubstr(":2: bottleneck is"));
}

TEST(ArchitectureDomain, WithoutDimensionsAPointIsItsBits) {
  const ArchitectureDomain domain(2, {});
  const Point point = domain.space().Parse("010110").value();
  EXPECT_EQ(domain.Architecture(point), "010110");
  EXPECT_TRUE(domain.Values(point).empty());
  const auto parameters = domain.Parameters(point);
  ASSERT_EQ(parameters.size(), 6u);
  EXPECT_EQ(parameters[1].name, "layer00.context");
  EXPECT_EQ(parameters[1].index, 1);
}

// A backbone of six layers: r = 1 has six DAMoE layers, r = 2 three, behind layers 2, 4 and 6.
TEST(ArchitectureDomain, LargerReplaceEveryTakesTheBitsAtTheSameDepth) {
  const ArchitectureDomain domain(6, Dimensions("replace_every ordinal 1,2,6"));
  EXPECT_EQ(domain.space().bits, 18);
  const std::string bits = "000001010011100101";
  EXPECT_EQ(domain.Architecture(domain.space().Parse(bits + ",0").value()), bits);
  EXPECT_EQ(domain.Architecture(domain.space().Parse(bits + ",1").value()), "001011101");
  EXPECT_EQ(domain.Architecture(domain.space().Parse(bits + ",2").value()), "101");
  EXPECT_EQ(domain.Values(domain.space().Parse(bits + ",1").value()).at("replace_every"), 2);
}

TEST(ArchitectureDomain, PointsOfOneMeaningHaveOneCanonicalForm) {
  const ArchitectureDomain domain(6, Dimensions("replace_every ordinal 1,2"));
  const auto canonical = [&](const char* text) {
    return domain.space().Text(domain.space().Canonical(domain.space().Parse(text).value()));
  };
  EXPECT_EQ(canonical("111001111011111101,1"), "000001000011000101,1");
  EXPECT_EQ(canonical("111001111011111101,0"), "111001111011111101,0");
}

TEST(Prior, LayersAreMappedByRelativeDepth) {
  EXPECT_EQ(MapLayers("000111", 3, 4), "000000111111");
  EXPECT_EQ(MapLayers("000001010011", 3, 2), "001011");
  EXPECT_EQ(MapLayers("010", 3, 1), "010");
}

TEST(Prior, ResultsAreStandardisedAndKeptByTheJournal) {
  scheduler::StudyRecord study;
  for (const auto& [bits, value] :
       std::vector<std::pair<const char*, double>>{{"000", 0.1}, {"111", 0.3}, {"010", 0.2}}) {
    scheduler::TrialRecord trial;
    trial.number = static_cast<int>(study.trials.size());
    trial.state = scheduler::TrialState::kComplete;
    trial.value = value;
    trial.attributes["architecture"] = bits;
    study.trials.push_back(trial);
  }
  const ArchitectureDomain domain(2, Dimensions("bottleneck log 16,32,64"));
  const auto prior = PriorOf(study, domain.space(), {{"bottleneck", 30}}).value();
  ASSERT_EQ(prior.size(), 3u);
  double sum = 0;
  for (const PriorEvaluation& one : prior) sum += one.standardised;
  EXPECT_NEAR(sum, 0, 1e-12);
  EXPECT_EQ(domain.space().Text(prior[0].point), "000000,1");  // 32 is the nearest width to 30
  EXPECT_NEAR(prior[0].standardised, -1.2247448713915890, 1e-12);
  const auto again = PriorFromJson(domain.space(), PriorToJson(domain.space(), prior)).value();
  ASSERT_EQ(again.size(), prior.size());
  for (size_t i = 0; i < prior.size(); ++i) {
    EXPECT_EQ(again[i].point, prior[i].point);
    EXPECT_EQ(again[i].standardised, prior[i].standardised);
  }
  study.trials.resize(1);
  EXPECT_EQ(ExitCodeOf(PriorOf(study, domain.space(), {}).status()), kExitData);
}

}  // namespace
}  // namespace mixrec::bo_driver
