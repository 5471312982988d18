// The live page's server, asked as a browser would ask it.
#include "launch/live_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include "bo_driver/report.h"
#include "common/file.h"
#include "launch/flag_line.h"
#include "study_sample.h"
#include "temporary_folder.h"

namespace mixrec::launch {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class LivePageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto study = SampleStudy::Create(folder_ / "study.journal", "a sample & more");
    ASSERT_TRUE(study.ok()) << study.status();
    study_ = *std::move(study);
    ASSERT_TRUE(study_->RunUntil(12).ok());
    auto page = LivePage::Start("127.0.0.1:0", FolderSource(folder_.path()));
    ASSERT_TRUE(page.ok()) << page.status();
    page_ = *std::move(page);
  }

  httplib::Result Get(const std::string& path) {
    httplib::Client client("http://" + page_->address());
    return client.Get(path.c_str());
  }
  nlohmann::json Study() { return nlohmann::json::parse(Get("/api/study")->body); }

  TemporaryFolder folder_;
  std::unique_ptr<SampleStudy> study_;
  std::unique_ptr<LivePage> page_;
};

TEST_F(LivePageTest, ShowsTheStudyAndAllowsNothingFromElsewhere) {
  const httplib::Result page = Get("/");
  ASSERT_TRUE(page);
  EXPECT_EQ(page->status, 200);
  EXPECT_THAT(page->body, HasSubstr("a sample &amp; more"));
  EXPECT_THAT(page->body, HasSubstr("data-period=\"5\""));
  const std::string policy = page->get_header_value("Content-Security-Policy");
  EXPECT_THAT(policy, HasSubstr("default-src 'none'"));
  EXPECT_THAT(policy, HasSubstr("connect-src 'self'"));
  EXPECT_EQ(page->get_header_value("Cache-Control"), "no-store");
}

TEST_F(LivePageTest, JsonSaysWhatChangedAndSectionsCanBeFetchedAlone) {
  const nlohmann::json before = Study();
  EXPECT_EQ(before["counts"]["finished"].get<int>() + before["counts"]["failed"].get<int>(), 12);
  EXPECT_EQ(before["phase"], "running");
  EXPECT_EQ(before["trials"].size(), study_->study().trials.size());
  EXPECT_TRUE(before["model"]["effects"].is_array());
  ASSERT_TRUE(study_->RunUntil(20).ok());
  const nlohmann::json after = Study();
  EXPECT_EQ(after["counts"]["finished"].get<int>() + after["counts"]["failed"].get<int>(), 20);
  EXPECT_NE(after["sections"]["history"], before["sections"]["history"]);
  EXPECT_EQ(after["sections"]["settings"], before["sections"]["settings"]);
  const std::string history = Get("/section/history")->body;
  EXPECT_EQ(after["sections"]["history"], ContentHash(history));
  EXPECT_THAT(history, HasSubstr("<svg"));
}

TEST_F(LivePageTest, RefusesWhatItDoesNotShowAndSaysSo) {
  EXPECT_EQ(Get("/healthz")->body, "ok\n");
  EXPECT_EQ(Get("/section/nothing")->status, 404);
  const httplib::Result other = Get("/../study.journal");
  EXPECT_EQ(other->status, 404);
  EXPECT_THAT(other->body, HasSubstr("/api/study"));
  httplib::Client client("http://" + page_->address());
  const httplib::Result post = client.Post("/api/study", "{}", "application/json");
  EXPECT_EQ(post->status, 405);
  EXPECT_THAT(post->body, HasSubstr("only shows"));
}

TEST_F(LivePageTest, UnreadableJournalIsSaidAndGoesAwayWhenItIsReadableAgain) {
  const std::string journal = ReadFile(folder_ / "study.journal").value();
  ASSERT_TRUE(WriteFileAtomic(folder_ / "study.journal", "{}\n" + journal).ok());
  const httplib::Result broken = Get("/");
  EXPECT_EQ(broken->status, 503);
  EXPECT_THAT(broken->body, HasSubstr("study.journal"));
  ASSERT_TRUE(WriteFileAtomic(folder_ / "study.journal", journal).ok());
  EXPECT_EQ(Get("/")->status, 200);
}

TEST_F(LivePageTest, PortInUseAndMalformedAddressesAreErrorsOfOneLine) {
  const auto second = LivePage::Start(page_->address(), FolderSource(folder_.path()));
  EXPECT_EQ(ExitCodeOf(second.status()), kExitFailure);
  EXPECT_THAT(StatusText(second.status()), HasSubstr("another program may have the port"));
  for (const char* address :
       {"", "8080", "localhost", "127.0.0.1:", "127.0.0.1:x", ":80", "127.0.0.1:70000"}) {
    const auto page = LivePage::Start(address, FolderSource(folder_.path()));
    EXPECT_EQ(ExitCodeOf(page.status()), kExitUsage) << address;
  }
}

TEST(StudyFiles, FolderWithoutAStudyIsADataError) {
  TemporaryFolder folder;
  const auto view = ReadStudyView(folder.path());
  EXPECT_EQ(ExitCodeOf(view.status()), kExitData);
  EXPECT_THAT(StatusText(view.status()), HasSubstr("no study here"));
}

TEST(StudyFiles, StudyOfOneProcessTakesItsEndAndItsBudgetFromItsRun) {
  TemporaryFolder folder;
  {
    auto journal = scheduler::Journal::Open(folder / "study.journal");
    ASSERT_TRUE(journal.ok());
    ASSERT_TRUE(journal->CreateStudy("alone", /*maximise=*/true).ok());
  }
  EXPECT_EQ(ReadStudyView(folder.path())->wanted, 0);
  const nlohmann::json run = {
      {"state", "stopped"}, {"flags", {{"trials", "17"}}}, {"host", "elsewhere"}, {"process", 12}};
  ASSERT_TRUE(WriteFileAtomic(folder / "run.json", run.dump()).ok());
  const auto view = ReadStudyView(folder.path());
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->wanted, 17);
  EXPECT_EQ(view->status.phase, scheduler::StudyPhase::kStopped);
  EXPECT_FALSE(WriterOf(folder.path())->alive.has_value());
  EXPECT_TRUE(SchedulerRecord(folder.path()).is_null());
}

}  // namespace
}  // namespace mixrec::launch
