#include "data/wordpiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/file.h"
#include "common/random.h"
#include "tests/test_folder.h"

namespace mixrec::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> SmallVocabulary() {
  return {"[PAD]",  "[UNK]", "[CLS]", "[SEP]",        "drill", "##s", "##bit", "un",   "##aff",
          "##able", "cafe",  ",",     "\xE6\x97\xA5", "a",     "##a", "!",     "Drill"};
}

WordPieceTokenizer Small(WordPieceOptions options = {}) {
  auto tokenizer = WordPieceTokenizer::FromTokens(SmallVocabulary(), options);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::vector<std::string> Pieces(const WordPieceTokenizer& tokenizer, std::string_view text,
                                int max_tokens = 64) {
  std::vector<std::string> pieces;
  for (const int32_t id : tokenizer.Encode(text, max_tokens)) pieces.push_back(tokenizer.token(id));
  return pieces;
}

TEST(WordPiece, TheLongestPieceComesFirst) {
  const WordPieceTokenizer tokenizer = Small();
  EXPECT_THAT(Pieces(tokenizer, "unaffable drillbits"),
              ElementsAre("[CLS]", "un", "##aff", "##able", "drill", "##bit", "##s", "[SEP]"));
}

TEST(WordPiece, AWordWithAnUnknownPartIsUnknownAsAWhole) {
  EXPECT_THAT(Pieces(Small(), "drillx drill"), ElementsAre("[CLS]", "[UNK]", "drill", "[SEP]"));
}

TEST(WordPiece, AWordThatIsTooLongIsUnknown) {
  const WordPieceTokenizer tokenizer = Small();
  EXPECT_EQ(tokenizer.Encode(std::string(100, 'a'), 200).size(), 102u);
  EXPECT_THAT(Pieces(tokenizer, std::string(101, 'a')), ElementsAre("[CLS]", "[UNK]", "[SEP]"));
}

TEST(WordPiece, SpecialTokensKeepTheirPlacesWhenTextIsCut) {
  const WordPieceTokenizer tokenizer = Small();
  EXPECT_THAT(Pieces(tokenizer, "drill drill drill", 4),
              ElementsAre("[CLS]", "drill", "drill", "[SEP]"));
  EXPECT_THAT(Pieces(tokenizer, "drill", 2), ElementsAre("[CLS]", "[SEP]"));
  EXPECT_THAT(Pieces(tokenizer, "", 9), ElementsAre("[CLS]", "[SEP]"));
}

TEST(WordPiece, SpecialTokensInTextAreText) {
  EXPECT_THAT(Pieces(Small(), "[SEP]"), ElementsAre("[CLS]", "[UNK]", "[UNK]", "[UNK]", "[SEP]"));
}

TEST(WordPiece, CaseAndAccentsCountOnlyForACasedVocabulary) {
  EXPECT_THAT(Pieces(Small(), "DRILL Caf\xC3\xA9"), ElementsAre("[CLS]", "drill", "cafe", "[SEP]"));
  WordPieceOptions cased;
  cased.lower_case = false;
  EXPECT_THAT(Pieces(Small(cased), "Drill drill caf\xC3\xA9"),
              ElementsAre("[CLS]", "Drill", "drill", "[UNK]", "[SEP]"));
}

TEST(WordPiece, WordsAreCutAtSpacesPunctuationAndIdeographs) {
  EXPECT_THAT(BasicTokens("a,b!  c\xC2\xA0"
                          "d",
                          true),
              ElementsAre("a", ",", "b", "!", "c", "d"));
  EXPECT_THAT(BasicTokens("x\xE6\x97\xA5\xE6\x9C\xACy", true),
              ElementsAre("x", "\xE6\x97\xA5", "\xE6\x9C\xAC", "y"));
  EXPECT_THAT(BasicTokens("$5^`|~", true), ElementsAre("$", "5", "^", "`", "|", "~"));
  EXPECT_THAT(BasicTokens("a\xE2\x80\x94z", true), ElementsAre("a", "\xE2\x80\x94", "z"));
}

TEST(WordPiece, WhatIsNotSeenIsDropped) {
  // Zero-width space, a control character, the replacement character, bytes that are not UTF-8.
  EXPECT_THAT(BasicTokens("a\xE2\x80\x8B"
                          "b\x01"
                          "c\xEF\xBF\xBD"
                          "d\xFF"
                          "e",
                          true),
              ElementsAre("abcde"));
  EXPECT_THAT(BasicTokens("a\tb\r\nc", true), ElementsAre("a", "b", "c"));
}

TEST(WordPiece, TheFolderSaysWhetherCaseCounts) {
  const std::string folder = TestFolder();
  std::string vocabulary;
  for (const std::string& token : SmallVocabulary()) vocabulary += token + "\n";
  ASSERT_TRUE(WriteFileAtomic(folder + "/vocab.txt", vocabulary).ok());
  auto tokenizer = WordPieceTokenizer::Load(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(tokenizer->vocab_size(), 17);
  EXPECT_THAT(Pieces(*tokenizer, "Drill"), ElementsAre("[CLS]", "drill", "[SEP]"));
  ASSERT_TRUE(
      WriteFileAtomic(folder + "/tokenizer_config.json", R"({"do_lower_case":false})").ok());
  tokenizer = WordPieceTokenizer::Load(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(Pieces(*tokenizer, "Drill"), ElementsAre("[CLS]", "Drill", "[SEP]"));
  ASSERT_TRUE(WriteFileAtomic(folder + "/tokenizer_config.json", "{").ok());
  EXPECT_THAT(WordPieceTokenizer::Load(folder).status().message(),
              HasSubstr("tokenizer_config.json"));
}

TEST(WordPiece, AVocabularyWithoutSpecialTokensIsNamed) {
  const std::string folder = TestFolder();
  ASSERT_TRUE(WriteFileAtomic(folder + "/vocab.txt", "a\nb\n[UNK]\n[CLS]\n").ok());
  const absl::Status status = WordPieceTokenizer::Load(folder).status();
  EXPECT_EQ(ExitCodeOf(status), kExitData);
  EXPECT_THAT(status.message(), HasSubstr("vocab.txt"));
  EXPECT_THAT(status.message(), HasSubstr("[SEP]"));
  ASSERT_TRUE(WriteFileAtomic(folder + "/vocab.txt", "[SEP]\na\xFF\n[UNK]\n[CLS]\n").ok());
  EXPECT_THAT(WordPieceTokenizer::Load(folder).status().message(), HasSubstr("UTF-8"));
}

TEST(WordPiece, AnyBytesAreAccepted) {
  const WordPieceTokenizer tokenizer = Small();
  for (uint64_t seed = 0; seed < 300; ++seed) {
    RandomStream random(seed);
    std::string text;
    for (uint64_t k = random.Below(40); k > 0; --k) {
      text.push_back(
          static_cast<char>(random.Below(2) ? random.Below(256) : 'a' + random.Below(3)));
    }
    const auto ids = tokenizer.Encode(text, 16);
    ASSERT_GE(ids.size(), 2u);
    ASSERT_LE(ids.size(), 16u);
  }
}

// The ids of golden/bert.json, with the vocabulary of the weights that MIXREC_BERT names.
TEST(GoldenBert, WordPieceIdsAreEqual) {
  const char* folder = std::getenv("MIXREC_BERT");
  if (folder == nullptr) GTEST_SKIP() << "MIXREC_BERT names no folder (see docs/testing.md)";
  const auto text = ReadFile(SharedFolder() + "/golden/bert.json");
  if (!text.ok()) GTEST_SKIP() << text.status().message();
  const auto tokenizer = WordPieceTokenizer::Load(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const auto& golden : nlohmann::json::parse(*text)) {
    const std::string words = golden["text"];
    EXPECT_EQ(tokenizer->Encode(words, 64), golden["ids"].get<std::vector<int32_t>>()) << words;
  }
}

}  // namespace
}  // namespace mixrec::data
