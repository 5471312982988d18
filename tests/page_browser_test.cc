// The page of a study in a real browser. Skipped where there is no Chromium. MIXREC_PICTURES=DIR
// keeps the pictures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "bo_driver/report.h"
#include "browser.h"
#include "common/file.h"
#include "launch/live_page.h"
#include "study_sample.h"
#include "temporary_folder.h"

namespace mixrec {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class PageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    browser_ = Browser::Find();
    if (!browser_) GTEST_SKIP() << "no Chromium here (apt-get install chromium-headless-shell)";
    auto study = SampleStudy::Create(folder_ / "study.journal", "Scientific, 12 layers");
    ASSERT_TRUE(study.ok()) << study.status();
    study_ = *std::move(study);
  }

  // Where a picture goes: what MIXREC_PICTURES says, or the test's folder.
  std::string PictureFile(const std::string& name) {
    const char* kept = std::getenv("MIXREC_PICTURES");
    return StrCat(kept != nullptr ? kept : folder_.path(), "/", name, ".png");
  }
  void TakePictures(const std::string& url, const std::string& name) {
    struct Shape {
      const char* name;
      int width, height;
      bool dark;
    };
    for (const Shape& shape : {Shape{"wide", 1280, 3300, false}, Shape{"dark", 1280, 3300, true},
                               Shape{"phone", 390, 6000, false}}) {
      const std::string path = PictureFile(StrCat(name, "-", shape.name));
      EXPECT_TRUE(browser_->Picture(url, shape.width, shape.height, shape.dark, path)) << path;
      // A page that stays blank packs into next to nothing.
      EXPECT_GT(std::filesystem::file_size(path), 60'000u) << path;
    }
  }

  TemporaryFolder folder_;
  std::unique_ptr<SampleStudy> study_;
  std::optional<Browser> browser_;
};

// Serves /report and the page that measures it.
class MeasuringServer {
 public:
  explicit MeasuringServer(std::string report) {
    const std::string page = ReadFile(MIXREC_MEASURE_PAGE).value();
    Serve("/", page);
    Serve("/report", std::move(report));
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~MeasuringServer() {
    server_.stop();
    thread_.join();
  }
  std::string url() const { return StrCat("http://127.0.0.1:", port_, "/"); }

 private:
  void Serve(const char* path, std::string text) {
    server_.Get(path, [text = std::move(text)](const httplib::Request&, httplib::Response& to) {
      to.set_content(text, "text/html; charset=utf-8");
    });
  }
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
};

// The text of the element <pre id="measured">.
json Measured(const std::string& document) {
  const std::string begin = "<pre id=\"measured\">";
  const size_t from = document.find(begin), to = document.find("</pre>");
  if (from == std::string::npos || to == std::string::npos) return nullptr;
  std::string text = document.substr(from + begin.size(), to - from - begin.size());
  for (const auto& [escaped, plain] :
       {std::pair{"&lt;", "<"}, {"&gt;", ">"}, {"&nbsp;", " "}, {"&amp;", "&"}}) {
    for (size_t at; (at = text.find(escaped)) != std::string::npos;) {
      text.replace(at, std::string(escaped).size(), plain);
    }
  }
  return json::parse(text, nullptr, /*allow_exceptions=*/false);
}

TEST_F(PageTest, ReportFitsEveryScreenAndATrialCanBeFound) {
  ASSERT_TRUE(study_->Finish().ok());
  const MeasuringServer server(bo_driver::RenderReport(study_->study()));
  const json measured = Measured(browser_->Document(server.url(), 1400, 900, 10'000));
  ASSERT_TRUE(measured.is_array() && measured.size() == 4) << measured.dump();
  for (const json& page : measured) {
    SCOPED_TRACE(page["width"].dump());
    EXPECT_EQ(page["ready"], "yes");
    EXPECT_LE(page["scroll_width"], page["width"]);
    EXPECT_EQ(page["sections"].size(), 11u) << page["sections"];
    EXPECT_EQ(page["rows"], study_->study().trials.size());
    EXPECT_GE(page["smallest_text"], 9.5);
    EXPECT_THAT(page["overlaps"], IsEmpty()) << page["overlaps"];
    EXPECT_THAT(page["cut"], IsEmpty()) << page["cut"];
    const json& pick = page["pick"];
    EXPECT_GE(pick["picked"], 4) << "its row, in the history, its curve, its time";
    const std::string trial = pick["trial"];
    EXPECT_THAT(pick["detail"].get<std::string>(), HasSubstr("trial " + trial));
    EXPECT_EQ(pick["address"], "#trial-" + trial);
    EXPECT_EQ(pick["left"], 0);
    EXPECT_EQ(pick["error"], "");
  }
}

TEST_F(PageTest, ReportIsReadFromAFileWithoutANetwork) {
  ASSERT_TRUE(study_->Finish().ok());
  ASSERT_TRUE(bo_driver::WriteReportFiles(study_->study(), folder_.path()).ok());
  const std::string url = StrCat("file://", folder_ / "report.html");
  const std::string document = browser_->Document(url + "#trial-2", 1280, 900, 1000);
  EXPECT_THAT(document, HasSubstr("data-ready=\"yes\""));
  EXPECT_THAT(document, Not(HasSubstr("data-error")));
  EXPECT_THAT(document, HasSubstr("<tr data-trial=\"2\"")) << "by its address";
  EXPECT_THAT(document, HasSubstr("class=\"picked\""));
  TakePictures(url, "finished");
}

TEST_F(PageTest, EmptyStudyIsAPageToo) {
  ASSERT_TRUE(bo_driver::WriteReportFiles(study_->study(), folder_.path()).ok());
  const std::string url = StrCat("file://", folder_ / "report.html");
  const std::string document = browser_->Document(url, 1280, 900, 1000);
  EXPECT_THAT(document, HasSubstr("data-ready=\"yes\""));
  EXPECT_THAT(document, HasSubstr("no trial has finished"));
  EXPECT_TRUE(browser_->Picture(url, 1280, 900, false, PictureFile("empty")));
}

TEST_F(PageTest, LivePageFollowsTheStudy) {
  // It began so that what is shown happens now.
  ASSERT_TRUE(study_->RunUntil(31).ok());
  const double began = 1795000000.0, now = static_cast<double>(std::time(nullptr));
  auto study = SampleStudy::Create(folder_ / "live.journal", "Scientific, 12 layers",
                                   now - (study_->now() - began));
  ASSERT_TRUE(study.ok()) << study.status();
  study_ = *std::move(study);
  ASSERT_TRUE(study_->RunUntil(9).ok());
  // The page itself sees the study as it is; whoever asks again sees it later.
  std::atomic<int> asked{0};
  const auto early = std::make_shared<scheduler::StudyView>(scheduler::ViewOf(study_->study()));
  ASSERT_TRUE(study_->RunUntil(31).ok());
  const auto late = std::make_shared<scheduler::StudyView>(scheduler::ViewOf(study_->study()));
  auto page = launch::LivePage::Start(
      "127.0.0.1:0", [&]() -> absl::StatusOr<std::shared_ptr<const scheduler::StudyView>> {
        return asked++ == 0 ? early : late;
      });
  ASSERT_TRUE(page.ok()) << page.status();
  const std::string url = StrCat("http://", (*page)->address(), "/");
  const std::string document = browser_->Document(url, 1280, 900, 12'000);
  EXPECT_THAT(document, HasSubstr("data-refreshes=\"3\"")) << "one at once, then every 5 s";
  EXPECT_THAT(document, Not(HasSubstr("data-error")));
  EXPECT_THAT(document, HasSubstr(StrCat("<title>", bo_driver::PageTitle(*late))));
  EXPECT_THAT(document, HasSubstr(StrCat(late->finished, " <span class=\"small\">of 48")));
  EXPECT_THAT(document, HasSubstr("updated "));
  EXPECT_GE(asked, 4);
  TakePictures(url, "running");
}

}  // namespace
}  // namespace mixrec
