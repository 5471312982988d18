#include "data/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/random.h"
#include "data/merge_table.h"
#include "data/pretokenizer.h"
#include "nlohmann/json.hpp"
#include "tests/data_fixture.h"

namespace mixrec::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  ForEachWord(text, [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

std::vector<std::string> SampleTexts() {
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i) {
    texts.push_back(StrCat("title steel drill bits size ", i % 7, " brand Acme caf\xC3\xA9 ",
                           i % 3 == 0 ? "heavy duty" : "light"));
  }
  return texts;
}

std::string RandomText(uint64_t seed) {
  RandomStream random(HashKey(seed, "text"));
  constexpr std::string_view kPieces[] = {"a",  "b",  " ",        "  ",       "'s",    "1",   "\n",
                                          "st", "\t", "\xC3\xA9", "\xFF\xC3", "drill", "<s>", "'"};
  std::string text;
  for (uint64_t k = random.Below(40); k > 0; --k) text += kPieces[random.Below(14)];
  return text;
}

TEST(Tokenizer, WordsAreCutAsGpt2CutsThem) {
  EXPECT_THAT(Words("don't we've I'll"), ElementsAre("don", "'t", " we", "'ve", " I", "'ll"));
  EXPECT_THAT(Words("a  b"), ElementsAre("a", " ", " b"));
  EXPECT_THAT(Words("a\n\nb  "), ElementsAre("a", "\n", "\n", "b", "  "));
  EXPECT_THAT(Words("x12 3.5\""), ElementsAre("x", "12", " 3", ".", "5", "\""));
  EXPECT_THAT(Words("'S ''s"), ElementsAre("'", "S", " ''", "s"));
  EXPECT_THAT(Words("a\xC2\xA0\xC2\xA0z"), ElementsAre("a", "\xC2\xA0", "\xC2\xA0", "z"));
  EXPECT_THAT(Words(" "), ElementsAre(" "));
  EXPECT_TRUE(Words("").empty());
}

TEST(Tokenizer, LongAndShortWordsMergeAlike) {
  MergeTable merges;
  // 0 0 -> 2, 0 1 -> 3, 2 2 -> 4, 3 0 -> 5
  const int32_t rules[][3] = {{0, 0, 2}, {0, 1, 3}, {2, 2, 4}, {3, 0, 5}};
  for (int32_t rank = 0; rank < 4; ++rank) {
    merges.Insert(rules[rank][0], rules[rank][1], {rank, rules[rank][2]});
  }
  const auto naive = [&](std::vector<int32_t> word) {
    for (;;) {
      size_t best = word.size();
      int32_t best_rank = 1000;
      for (size_t i = 0; i + 1 < word.size(); ++i) {
        const int32_t rank = merges.Find(word[i], word[i + 1]).rank;
        if (rank >= 0 && rank < best_rank) best = i, best_rank = rank;
      }
      if (best == word.size()) return word;
      word[best] = merges.Find(word[best], word[best + 1]).merged;
      word.erase(word.begin() + static_cast<long>(best) + 1);
    }
  };
  for (uint64_t seed = 0; seed < 200; ++seed) {
    RandomStream random(HashKey(seed, "word"));
    std::vector<int32_t> word(random.Below(120));
    for (int32_t& symbol : word) symbol = static_cast<int32_t>(random.Below(4) == 0);
    const std::vector<int32_t> expected = naive(word);
    merges.Apply(&word);
    EXPECT_EQ(word, expected);
  }
}

TEST(Tokenizer, TrainedVocabularySurvivesSaveAndLoad) {
  const std::string folder = TestFolder();
  const Tokenizer trained = TrainBpe(SampleTexts(), 320);
  ASSERT_TRUE(trained.Save(folder).ok());
  const auto loaded = Tokenizer::Load(folder);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->content_hash(), trained.content_hash());
  EXPECT_EQ(loaded->vocab_size(), trained.vocab_size());
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const std::string text = RandomText(seed);
    EXPECT_EQ(loaded->Encode(text), trained.Encode(text));
    EXPECT_EQ(loaded->Decode(loaded->Encode(text)), text);
  }
}

TEST(Tokenizer, TrainingMakesFrequentWordsOneTokenAndReservesTheSpecialIds) {
  const Tokenizer tokenizer = TrainBpe(SampleTexts(), 400);
  EXPECT_LE(tokenizer.vocab_size(), 400);
  EXPECT_GT(tokenizer.vocab_size(), 280);
  EXPECT_EQ(tokenizer.Encode(" steel drill").size(), 2u);
  EXPECT_EQ(tokenizer.Encode("!").front(), 4 + '!');  // special tokens, then bytes
  for (const int32_t id : tokenizer.Encode("<s> </s> <pad>")) EXPECT_GE(id, 4);
  EXPECT_EQ(tokenizer.Decode({0, 1, 2, 3, 4 + '!', -1, 1 << 30}), "!");
}

TEST(Tokenizer, TrainingIsDeterministicAndNeverYieldsASpecialToken) {
  const std::vector<std::string> texts(50, "<s><s> <s> </s>");
  const Tokenizer first = TrainBpe(texts, 300), second = TrainBpe(texts, 300);
  EXPECT_EQ(first.content_hash(), second.content_hash());
  for (const int32_t id : first.Encode("<s><s>")) EXPECT_GE(id, 4);
  EXPECT_EQ(first.Decode(first.Encode("<s> </s>")), "<s> </s>");
  EXPECT_EQ(TrainBpe({}, 300).vocab_size(), 260);
}

TEST(Tokenizer, MalformedFilesNameFileAndLine) {
  const std::string folder = TestFolder();
  ASSERT_TRUE(TrainBpe(SampleTexts(), 300).Save(folder).ok());
  const std::string vocabulary = ReadFile(folder + "/vocab.json").value();
  const std::string merges = ReadFile(folder + "/merges.txt").value();
  const auto message = [&](const std::string& vocab_json, const std::string& merges_txt) {
    EXPECT_TRUE(WriteFileAtomic(folder + "/vocab.json", vocab_json).ok());
    EXPECT_TRUE(WriteFileAtomic(folder + "/merges.txt", merges_txt).ok());
    const auto loaded = Tokenizer::Load(folder);
    EXPECT_EQ(ExitCodeOf(loaded.status()), kExitData);
    return std::string(loaded.status().message());
  };
  EXPECT_THAT(message("{\n\"a\": ", merges), HasSubstr("vocab.json:2: not JSON"));
  EXPECT_THAT(message("[1]", merges), HasSubstr("expected an object"));
  EXPECT_THAT(message("{\"a\": -1}", merges), HasSubstr("token `a`"));
  EXPECT_THAT(message("{\"a\": 99999999999}", merges), HasSubstr("token `a`"));
  EXPECT_THAT(message("{\"a\": 1, \"b\": 1}", merges), HasSubstr("share the id 1"));
  EXPECT_THAT(message("{\"a\": 0}", "#version: 0.2\n"), HasSubstr("no token for the byte 0"));
  EXPECT_THAT(message(vocabulary, "#version: 0.2\na b c\n"), HasSubstr("merges.txt:2: expected"));
  EXPECT_THAT(message(vocabulary, "#version: 0.2\n\xC4\xA0 nonsense\n"),
              HasSubstr("merges.txt:2: token `nonsense` is not in vocab.json"));
  std::filesystem::remove(folder + "/merges.txt");
  EXPECT_FALSE(Tokenizer::Load(folder).ok());
}

TEST(Tokenizer, DamagedFilesGiveAStatusNeverACrash) {
  const std::string folder = TestFolder();
  ASSERT_TRUE(TrainBpe(SampleTexts(), 280).Save(folder).ok());
  const std::string names[] = {folder + "/vocab.json", folder + "/merges.txt"};
  const std::string contents[] = {ReadFile(names[0]).value(), ReadFile(names[1]).value()};
  for (uint64_t seed = 0; seed < 200; ++seed) {
    RandomStream random(HashKey(seed, "fuzz"));
    const size_t which = random.Below(2);
    std::string damaged = contents[which];
    const size_t at = random.Below(damaged.size());
    if (random.Below(3) == 0)
      damaged.resize(at);
    else
      damaged[at] = static_cast<char>(random.Below(256));
    WritePlain(names[which], damaged);
    WritePlain(names[1 - which], contents[1 - which]);
    const auto loaded = Tokenizer::Load(folder);
    if (loaded.ok()) {
      EXPECT_EQ(loaded->Decode(loaded->Encode("steel drill")), "steel drill");
    }
  }
}

TEST(GoldenBpe, EveryLineIsEncodedAsHuggingFaceDoes) {
  const std::string golden_path = SharedFolder() + "/golden/bpe.json";
  const std::string folder = SharedFolder() + "/tokenizer/opt";
  MIXREC_SKIP_WITHOUT(golden_path);
  MIXREC_SKIP_WITHOUT(folder);
  const auto tokenizer = Tokenizer::Load(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(tokenizer->vocab_size(), 50265);
  const auto golden = nlohmann::json::parse(ReadFile(golden_path).value());
  ASSERT_FALSE(golden.empty());
  for (const auto& line : golden) {
    const auto text = line["text"].get<std::string>();
    EXPECT_EQ(tokenizer->Encode(text), line["ids"].get<std::vector<int32_t>>()) << text;
    EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(text)), text);
  }
}

}  // namespace
}  // namespace mixrec::data
