#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>

#include "common/event_file.h"
#include "common/file.h"
#include "common/metrics.h"

namespace mixrec {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class MetricsFile : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = ::testing::TempDir() + "mixrec_metrics_" + test->name();
    std::filesystem::remove_all(folder_);
    ASSERT_TRUE(MakeFolder(folder_).ok());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  MetricsWriter Open(bool tensorboard = true) {
    MetricsOptions options;
    options.tensorboard = tensorboard;
    options.now = [this] { return time_ += 0.5; };
    auto writer = MetricsWriter::Open(folder_, options);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return *std::move(writer);
  }
  std::string Path() const { return folder_ + "/metrics.jsonl"; }
  std::string Content() const { return ReadFile(Path()).value(); }
  std::vector<int64_t> Steps() const {
    std::vector<int64_t> steps;
    std::ifstream file(Path());
    for (std::string line; std::getline(file, line);) {
      steps.push_back(nlohmann::json::parse(line)["step"].get<int64_t>());
    }
    return steps;
  }
  std::vector<std::string> EventFiles() const {
    std::vector<std::string> files;
    if (!PathExists(folder_ + "/tensorboard")) return files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/tensorboard")) {
      files.push_back(entry.path().string());
    }
    return files;
  }
  std::string Events() const {
    const auto files = EventFiles();
    EXPECT_EQ(files.size(), 1u);
    return files.size() == 1 ? ReadFile(files[0]).value() : "";
  }

  std::string folder_;
  double time_ = 1700000000;
};

TEST_F(MetricsFile, RecordIsOneJsonLine) {
  MetricsWriter writer = Open();
  ASSERT_TRUE(writer.Write(3, {{"loss", 0.25}, {"lr", 1e-3}}, {{"epoch", 1}}).ok());
  EXPECT_EQ(Content(),
            "{\"step\":3,\"time\":1700000000.5,\"loss\":0.25,\"lr\":0.001,\"epoch\":1}\n");
}

TEST_F(MetricsFile, RecordIsThereWhenWriteReturns) {
  MetricsWriter writer = Open();
  for (int64_t step = 1; step <= 3; ++step) {
    ASSERT_TRUE(writer.Write(step, {{"loss", 1}}).ok());
    EXPECT_EQ(Steps().size(), static_cast<size_t>(step));
    EXPECT_EQ(Content().back(), '\n');
  }
}

TEST_F(MetricsFile, NumbersThatJsonCannotSayAreNull) {
  MetricsWriter writer = Open();
  ASSERT_TRUE(writer.Write(1, {{"loss", std::numeric_limits<double>::quiet_NaN()}}).ok());
  ASSERT_TRUE(writer.Write(2, {{"loss", std::numeric_limits<double>::infinity()}}).ok());
  EXPECT_THAT(Content(), HasSubstr("\"step\":1,\"time\":1700000000.5,\"loss\":null"));
  EXPECT_THAT(Content(), HasSubstr("\"step\":2,\"time\":1700000001.0,\"loss\":null"));
}

TEST_F(MetricsFile, TextThatIsNotUtf8DoesNotEndTheRun) {
  MetricsWriter writer = Open();
  ASSERT_TRUE(writer.Write(1, {}, {{"note", "\xFF"}}).ok());
  EXPECT_THAT(Steps(), ElementsAre(1));
}

TEST_F(MetricsFile, ReopenedFileGoesOn) {
  ASSERT_TRUE(Open().Write(1, {{"loss", 1}}).ok());
  ASSERT_TRUE(Open().Write(2, {{"loss", 1}}).ok());
  EXPECT_THAT(Steps(), ElementsAre(1, 2));
}

TEST_F(MetricsFile, HalfWrittenLastLineIsDropped) {
  ASSERT_TRUE(WriteFileAtomic(Path(), "{\"step\":1,\"time\":1}\n{\"step\":2,\"ti").ok());
  ASSERT_TRUE(Open().Write(2, {{"loss", 1}}).ok());
  EXPECT_THAT(Steps(), ElementsAre(1, 2));
}

TEST_F(MetricsFile, TruncateLeavesEachStepOnceAfterAResume) {
  {
    MetricsWriter writer = Open();
    for (int64_t step = 1; step <= 5; ++step) ASSERT_TRUE(writer.Write(step, {{"a", 1}}).ok());
  }
  MetricsWriter writer = Open();
  ASSERT_TRUE(writer.TruncateAfterStep(3).ok());
  EXPECT_THAT(Steps(), ElementsAre(1, 2, 3));
  for (int64_t step = 4; step <= 6; ++step) ASSERT_TRUE(writer.Write(step, {{"a", 1}}).ok());
  EXPECT_THAT(Steps(), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST_F(MetricsFile, EventFileMirrorsTheScalars) {
  MetricsWriter writer = Open();
  ASSERT_TRUE(writer.Write(7, {{"loss", 0.5}}, {{"epoch", 2}, {"note", "text"}}).ok());
  EXPECT_EQ(Events(), EventFileHeader(1700000000.5) +
                          ScalarEvent(1700000000.5, 7, {{"loss", 0.5}, {"epoch", 2}}));
}

TEST_F(MetricsFile, TruncateRewritesTheEventFileFromTheRecordsKept) {
  MetricsWriter writer = Open();
  for (int64_t step = 1; step <= 3; ++step) ASSERT_TRUE(writer.Write(step, {{"a", 1}}).ok());
  ASSERT_TRUE(writer.TruncateAfterStep(1).ok());
  ASSERT_TRUE(writer.Write(2, {{"a", 4}}).ok());
  const std::string events = Events();
  const std::string expected_end =
      ScalarEvent(1700000000.5, 1, {{"a", 1}}) + ScalarEvent(time_, 2, {{"a", 4}});
  const size_t header = EventFileHeader(0).size();
  EXPECT_EQ(events.substr(header), expected_end);
}

TEST_F(MetricsFile, TensorboardCanBeOff) {
  MetricsWriter writer = Open(/*tensorboard=*/false);
  ASSERT_TRUE(writer.Write(1, {{"loss", 1}}).ok());
  ASSERT_TRUE(writer.TruncateAfterStep(1).ok());
  EXPECT_THAT(EventFiles(), IsEmpty());
  EXPECT_THAT(Steps(), ElementsAre(1));
}

TEST_F(MetricsFile, BadRecordNamesFileAndLine) {
  ASSERT_TRUE(WriteFileAtomic(Path(), "{\"step\":1,\"time\":1}\nnonsense\n").ok());
  MetricsWriter writer = Open();
  const absl::Status status = writer.TruncateAfterStep(1);
  EXPECT_EQ(ExitCodeOf(status), kExitData);
  EXPECT_THAT(std::string(status.message()), HasSubstr("metrics.jsonl:2:"));
}

TEST_F(MetricsFile, MissingFolderIsNamed) {
  const auto writer = MetricsWriter::Open(folder_ + "/nowhere");
  ASSERT_FALSE(writer.ok());
  EXPECT_THAT(std::string(writer.status().message()), HasSubstr("nowhere/metrics.jsonl"));
}

TEST_F(MetricsFile, RecordThatDoesNotFitIsTakenBackWhole) {
  MetricsWriter writer = Open(/*tensorboard=*/false);
  ASSERT_TRUE(writer.Write(1, {{"loss", 1}}).ok());
  const std::string before = Content();
  // A limit of the file's size stands for the full disk: it, too, cuts a write in the middle.
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit small{before.size() + 7, limit.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status = writer.Write(2, {{"loss", 1}});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("metrics.jsonl"));
  EXPECT_EQ(Content(), before);
}

}  // namespace
}  // namespace mixrec
