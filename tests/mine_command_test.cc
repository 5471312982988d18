// `mixrec mine` and the commands that read what it writes, in one process, with a tiny random BERT.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "absl/strings/str_split.h"
#include "common/file.h"
#include "data/mined_hard_samples.h"
#include "launch/commands.h"
#include "tests/bert_fixture.h"
#include "tests/test_folder.h"

namespace mixrec::launch {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

struct Outcome {
  int code = 0;
  std::string out, err;
};

Outcome Type(Words words) {
  words.push_back("--log_level=error");
  std::ostringstream out, err;
  Outcome outcome;
  outcome.code = RunProgram(AllCommands(), words, out, err);
  outcome.out = out.str();
  outcome.err = err.str();
  return outcome;
}

class MineCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    model::WriteTinyBert(Path("bert"), model::TinyBertTensors(1));
    const Outcome made = Type(
        {"synth", "--out=" + Path("toy"), "--user_count=60", "--item_count=40", "--mean_length=6"});
    ASSERT_EQ(made.code, 0) << made.err;
  }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  Words With(Words words, const Words& more = {}) const {
    words.push_back("--data=" + Path("toy"));
    words.push_back("--device=cpu");
    words.push_back("--threads=1");
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  Outcome Mine(const Words& more) const {
    return Type(With({"mine", "--bert=" + Path("bert"), "--top_fraction=0.2", "--mf_dim=8"}, more));
  }

  std::string folder_ = TestFolder();
};

TEST_F(MineCommand, TheSameCommandAgainGivesTheSameSets) {
  const Outcome first = Mine({"--out=" + Path("mined")});
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("hard samples: "));
  const std::string sets = *ReadFile(Path("mined/hard_samples.bin"));
  ASSERT_EQ(Mine({"--out=" + Path("mined")}).code, 0);
  EXPECT_EQ(*ReadFile(Path("mined/hard_samples.bin")), sets);
  ASSERT_EQ(Mine({"--out=" + Path("mined"), "--mf_dim=3"}).code, 0);
  EXPECT_NE(*ReadFile(Path("mined/hard_samples.bin")), sets);
}

TEST_F(MineCommand, PretrainingTakesTheVectorsOrTheEncoder) {
  const Outcome vectors = Mine(
      {"--vectors_out=" + Path("vectors"), "--min_item_interactions=1", "--description_field="});
  ASSERT_EQ(vectors.code, 0) << vectors.err;
  const Words pretrain = {
      "pretrain",   "--tokenizer=train:300", "--hidden=8",          "--layers=1",
      "--epochs=1", "--distill_sequences=4", "--description_field="};
  const Outcome from_file =
      Type(With(pretrain, {"--out=" + Path("lm_file"), "--distill=" + Path("vectors")}));
  EXPECT_EQ(from_file.code, 0) << from_file.err;
  const Outcome from_folder =
      Type(With(pretrain, {"--out=" + Path("lm_folder"), "--distill=" + Path("bert")}));
  EXPECT_EQ(from_folder.code, 0) << from_folder.err;
  EXPECT_EQ(*ReadFile(Path("lm_file/model.safetensors")),
            *ReadFile(Path("lm_folder/model.safetensors")));
  const Outcome other_width =
      Type(With(pretrain, {"--out=" + Path("lm"), "--distill=" + Path("vectors"), "--hidden=16"}));
  EXPECT_EQ(other_width.code, kExitUsage);
  EXPECT_THAT(other_width.err, HasSubstr("--distill_words=false"));
}

TEST_F(MineCommand, PiecesOfDescriptionsBecomeTextsOfTheirOwnForBothCommands) {
  const std::string path = Path("toy/toy.item");
  std::string described;
  for (absl::string_view line : absl::StrSplit(*ReadFile(path), '\n', absl::SkipEmpty())) {
    const bool head = described.empty();
    described += StrCat(line,
                        head ? "\tdescription:token_seq"
                             : StrCat("\tOne word. Item number ", described.size(),
                                      " of the toy catalogue. Made of the very best steel."),
                        "\n");
  }
  ASSERT_TRUE(WriteFileAtomic(path, described).ok());
  ASSERT_EQ(Mine({"--vectors_out=" + Path("plain"), "--min_item_interactions=1"}).code, 0);
  const Outcome mined = Mine(
      {"--vectors_out=" + Path("pieces"), "--min_item_interactions=1", "--description_pieces=2"});
  ASSERT_EQ(mined.code, 0) << mined.err;
  EXPECT_THAT(mined.out, HasSubstr("pieces: 79 texts"));  // 39 items, their numbers, the steel
  const Words pretrain = {
      "pretrain",   "--tokenizer=train:300", "--hidden=8",          "--layers=1",
      "--epochs=1", "--distill_sequences=4", "--out=" + Path("lm"), "--description_pieces=2"};
  const Outcome without = Type(With(pretrain, {"--distill=" + Path("plain")}));
  EXPECT_EQ(without.code, kExitData);
  const Outcome with = Type(With(pretrain, {"--distill=" + Path("pieces")}));
  EXPECT_EQ(with.code, 0) << with.err;
  EXPECT_EQ(
      Mine({"--vectors_out=" + Path("x"), "--description_field=", "--description_pieces=1"}).code,
      kExitUsage);
}

TEST_F(MineCommand, TrainingDrawsFromTheSetsAndKeepsToThem) {
  ASSERT_EQ(Mine({"--out=" + Path("mined")}).code, 0);
  ASSERT_EQ(Type(With({"pretrain", "--tokenizer=train:300", "--hidden=8", "--layers=1",
                       "--epochs=1", "--out=" + Path("lm")}))
                .code,
            0);
  const Words train = {"train",      "--backbone=" + Path("lm"), "--epochs=1",
                       "--batch=16", "--max_items=10",           "--lambda_cl=1"};
  const std::string sets = "--hard_samples=" + Path("mined/hard_samples.bin");
  const Outcome mined = Type(With(train, {"--out=" + Path("mined_run"), sets}));
  ASSERT_EQ(mined.code, 0) << mined.err;
  ASSERT_EQ(Type(With(train, {"--out=" + Path("random_run")})).code, 0);
  const auto weights = [&](const std::string& run) {
    return *ReadFile(Path(run) + "/checkpoints/best/model.safetensors");
  };
  EXPECT_NE(weights("mined_run"), weights("random_run"));
  // A finished run goes on only with the sets that it began with.
  EXPECT_EQ(Type(With(train, {"--out=" + Path("mined_run")})).code, kExitData);
  EXPECT_EQ(Type(With(train, {"--out=" + Path("random_run"), sets})).code, kExitData);
  // Sets of other items.
  const Outcome other =
      Type(With(train, {"--out=" + Path("other"), sets, "--min_item_interactions=9"}));
  EXPECT_EQ(other.code, kExitData);
  EXPECT_THAT(other.err, HasSubstr("other items"));
}

TEST_F(MineCommand, WhatIsMissingIsNamed) {
  EXPECT_EQ(Type({"mine", "--bert=x"}).code, kExitUsage);
  EXPECT_EQ(Mine({}).code, kExitUsage);
  const Outcome no_encoder = Type(With({"mine", "--bert=" + Path("none"), "--out=" + Path("x")}));
  EXPECT_EQ(no_encoder.code, kExitData);
  EXPECT_THAT(no_encoder.err, HasSubstr("vocab.txt"));
}

}  // namespace
}  // namespace mixrec::launch
