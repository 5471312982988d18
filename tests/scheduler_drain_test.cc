// A scheduler that was told to stop: what its groups hear last.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <utility>
#include <vector>

#include "scheduler/codec.h"
#include "scheduler/scheduler.h"
#include "tests/test_folder.h"

namespace mixrec::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class EndlessStrategy : public Strategy {
 public:
  bool HasMore(const StudyRecord&) const override { return true; }
  absl::StatusOr<Proposal> Propose(const StudyRecord&) override { return Proposal(); }
  void Told(const TrialRecord&) override {}
  std::optional<EarlyStop> StopsEarly(const StudyRecord&, const TrialRecord&) override {
    return std::nullopt;
  }
  std::string Work(const TrialRecord&) override { return "work"; }
};

// A scheduler, and what a group of two slots says to it and hears.
class SchedulerDrain : public ::testing::Test {
 protected:
  void SetUp() override {
    journal_.emplace(Journal::Open(TestFolder() + "/study.journal").value());
    ASSERT_TRUE(journal_->CreateStudy("study", /*maximise=*/true).ok());
    SchedulerOptions options;
    options.settings = kSettings;
    scheduler_.emplace(options, &*journal_, &strategy_);
    Turn([&](net::Outbox* out) { scheduler_->Start(out); });
    Report({});
    ASSERT_THAT(Heard().trials, SizeIs(2));
    Turn([&](net::Outbox* out) { scheduler_->Drain(now_ + net::kSecond, out); });
    ASSERT_FALSE(stopped_);
  }

  template <typename Call>
  void Turn(const Call& call) {
    net::Outbox out(now_ += net::kMillisecond);
    call(&out);
    stopped_ = stopped_ || out.stopped();
    words_ = std::move(out.packets());
  }
  void Report(const std::vector<HeldTrial>& trials) {
    GroupReport report;
    report.group.name = "g";
    report.group.incarnation = 7;
    report.group.slots = 2;
    report.settings = kSettings;
    report.sequence = ++sequence_;
    report.ready = true;
    report.trials = trials;
    Turn([&](net::Outbox* out) { scheduler_->Receive("g", Encode(report), out); });
  }
  // The last word of the last turn; an empty one when there was none.
  Assignment Heard() const {
    if (words_.empty()) return {};
    return std::get<Assignment>(Decode(words_.back().message).value());
  }
  static HeldTrial Held(int trial, Outcome::Kind kind) {
    HeldTrial held;
    held.id = {trial, 1};
    held.outcome.kind = kind;
    return held;
  }

  static constexpr char kSettings[] = "settings";
  net::Time now_ = net::kSecond;
  uint64_t sequence_ = 0;
  EndlessStrategy strategy_;
  std::optional<Journal> journal_;
  std::optional<Scheduler> scheduler_;
  std::vector<net::Packet> words_;
  bool stopped_ = false;
};

// Otherwise the group would wait for its answer, in vain.
TEST_F(SchedulerDrain, WhoGivesTheLastTrialBackIsAnswered) {
  Report({Held(0, Outcome::Kind::kReleased), Held(1, Outcome::Kind::kNone)});
  EXPECT_THAT(Heard().settled, ElementsAre(TrialAttempt{0, 1}));
  EXPECT_FALSE(stopped_);
  Report({Held(1, Outcome::Kind::kReleased)});
  EXPECT_THAT(Heard().settled, ElementsAre(TrialAttempt{1, 1}));
  EXPECT_TRUE(stopped_);
}

// It would take an empty list for a request to drop its trials.
TEST_F(SchedulerDrain, AGroupThatIsStillAtWorkHearsOfNoEnd) {
  now_ += 2 * net::kSecond;
  Report({Held(0, Outcome::Kind::kNone), Held(1, Outcome::Kind::kNone)});
  EXPECT_THAT(words_, IsEmpty());
  EXPECT_TRUE(stopped_);
}

}  // namespace
}  // namespace mixrec::scheduler
