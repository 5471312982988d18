#include "data/catalogue.h"

#include <gtest/gtest.h>

#include "tests/data_fixture.h"

namespace mixrec::data {
namespace {

Dataset SmallDataset() {
  return Dataset::FromHistories(
      {{0, 1, 2, 3}, {3, 2, 1}},
      {"steel drill bits", "wood screws", "glass beaker of borosilicate", "paper filter"});
}

Tokenizer SmallTokenizer(int vocab_size = 280) {
  return TrainBpe(std::vector<std::string>(4, "title steel drill wood screws glass"), vocab_size);
}

void ExpectEqual(const Catalogue& a, const Catalogue& b) {
  ASSERT_EQ(a.items(), b.items());
  EXPECT_EQ(a.prompt_tokens(), b.prompt_tokens());
  EXPECT_EQ(a.max_item_tokens(), b.max_item_tokens());
  for (int32_t item = 0; item < a.items(); ++item) {
    EXPECT_EQ(a.item_tokens(item), b.item_tokens(item));
  }
}

TEST(Catalogue, AnItemIsItsSentenceInOneCallCutAtTheLimit) {
  const Dataset dataset = SmallDataset();
  const Tokenizer tokenizer = SmallTokenizer();
  CatalogueOptions options;
  options.max_item_tokens = 9;
  const Catalogue catalogue = BuildCatalogue(dataset, tokenizer, options);
  ASSERT_EQ(catalogue.items(), 4);
  EXPECT_EQ(catalogue.max_item_tokens(), 9);
  for (int32_t item = 0; item < catalogue.items(); ++item) {
    std::vector<int32_t> tokens = tokenizer.Encode(dataset.sentence(item));
    if (tokens.size() > 9) tokens.resize(9);
    EXPECT_EQ(catalogue.item_tokens(item), absl::MakeConstSpan(tokens));
  }
  EXPECT_EQ(tokenizer.Decode({catalogue.prompt_tokens().begin(), catalogue.prompt_tokens().end()}),
            "Give the ID of the item described by:");
}

TEST(Catalogue, TheCacheIsUsedWhileNothingChanged) {
  const std::string path = TestFolder() + "/catalogue.cache";
  const Dataset dataset = SmallDataset();
  const Tokenizer tokenizer = SmallTokenizer();
  bool from_cache = true;
  const auto built = LoadOrBuildCatalogue(dataset, tokenizer, {}, path, &from_cache);
  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_FALSE(from_cache);
  const auto cached = LoadOrBuildCatalogue(dataset, tokenizer, {}, path, &from_cache);
  ASSERT_TRUE(cached.ok()) << cached.status();
  EXPECT_TRUE(from_cache);
  ExpectEqual(*built, *cached);
}

TEST(Catalogue, TheCacheIsRebuiltWhenAnInputChanges) {
  const std::string path = TestFolder() + "/catalogue.cache";
  const Dataset dataset = SmallDataset();
  const Dataset other =
      Dataset::FromHistories({{0, 1, 2, 3}}, {"steel drill", "wood", "glass", "paper"});
  const Tokenizer tokenizer = SmallTokenizer(), other_tokenizer = SmallTokenizer(270);
  CatalogueOptions shorter;
  shorter.max_item_tokens = 3;
  CatalogueOptions other_prompt;
  other_prompt.prompt = "Which item?";
  const auto is_cached = [&](const Dataset& data, const Tokenizer& tokens,
                             const CatalogueOptions& options) {
    bool from_cache = false;
    const auto catalogue = LoadOrBuildCatalogue(data, tokens, options, path, &from_cache);
    EXPECT_TRUE(catalogue.ok()) << catalogue.status();
    ExpectEqual(*catalogue, BuildCatalogue(data, tokens, options));
    return from_cache;
  };
  EXPECT_FALSE(is_cached(dataset, tokenizer, {}));
  EXPECT_FALSE(is_cached(other, tokenizer, {}));
  EXPECT_FALSE(is_cached(other, other_tokenizer, {}));
  EXPECT_FALSE(is_cached(other, other_tokenizer, shorter));
  EXPECT_FALSE(is_cached(other, other_tokenizer, other_prompt));
  EXPECT_TRUE(is_cached(other, other_tokenizer, other_prompt));
}

TEST(Catalogue, ADamagedCacheIsRebuilt) {
  const std::string path = TestFolder() + "/catalogue.cache";
  const Dataset dataset = SmallDataset();
  const Tokenizer tokenizer = SmallTokenizer();
  const Catalogue expected = BuildCatalogue(dataset, tokenizer, {});
  ASSERT_TRUE(LoadOrBuildCatalogue(dataset, tokenizer, {}, path).ok());
  const std::string whole = ReadFile(path).value();
  for (size_t at = 0; at < whole.size(); at += at < 104 ? 7 : 37) {
    for (const bool cut : {false, true}) {
      std::string damaged = whole;
      if (cut)
        damaged.resize(at);
      else
        damaged[at] = static_cast<char>(damaged[at] ^ 0x41);
      WritePlain(path, damaged);
      const auto catalogue = LoadOrBuildCatalogue(dataset, tokenizer, {}, path);
      ASSERT_TRUE(catalogue.ok()) << catalogue.status();
      ExpectEqual(*catalogue, expected);
    }
  }
  EXPECT_EQ(ReadFile(path).value(), whole);
}

TEST(Catalogue, AnUnwritableCacheIsReported) {
  EXPECT_FALSE(
      LoadOrBuildCatalogue(SmallDataset(), SmallTokenizer(), {}, "/nonexistent/folder/c").ok());
}

}  // namespace
}  // namespace mixrec::data
