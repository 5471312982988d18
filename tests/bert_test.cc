// The BERT encoder, against golden values, a plain reference and damaged folders.
#include "model/bert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/file.h"
#include "common/random.h"
#include "model/safetensors.h"
#include "tests/bert_fixture.h"
#include "tests/test_folder.h"

namespace mixrec::model {
namespace {

using ::testing::HasSubstr;

double LargestDifference(const at::Tensor& found, const at::Tensor& expected) {
  EXPECT_EQ(found.sizes(), expected.sizes());
  return (found - expected).abs().max().item<double>();
}

Bert LoadTiny(const std::string& folder) {
  auto bert = LoadBert(folder, at::kCPU, at::kFloat);
  EXPECT_TRUE(bert.ok()) << bert.status();
  return bert.ok() ? *std::move(bert) : Bert();
}

TEST(Bert, ATextsVectorDoesNotDependOnItsNeighbours) {
  const std::string folder = TestFolder();
  WriteTinyBert(folder, TinyBertTensors(1));
  const Bert bert = LoadTiny(folder);
  const std::vector<std::vector<int32_t>> texts = {{1, 2, 3}, {4}, {5, 6, 7}, {1, 2}, {9, 8, 7, 6}};
  const at::Tensor together = BertMeans(bert, texts);
  const at::Tensor one_by_one = BertMeans(bert, texts, 1);
  EXPECT_LE(LargestDifference(together, one_by_one), 1e-6);
  for (size_t k = 0; k < texts.size(); ++k) {
    const std::vector<int64_t> ids(texts[k].begin(), texts[k].end());
    const at::Tensor states = BertStates(bert, at::tensor(ids, at::kLong).unsqueeze(0));
    EXPECT_LE(LargestDifference(together[static_cast<int64_t>(k)], states[0].mean(0)), 1e-6);
  }
}

TEST(Bert, EveryTokenSeesEveryOther) {
  const std::string folder = TestFolder();
  WriteTinyBert(folder, TinyBertTensors(2));
  const Bert bert = LoadTiny(folder);
  const auto first_state = [&](int64_t last) {
    return BertStates(bert,
                      at::tensor({int64_t{1}, int64_t{2}, last}, at::kLong).unsqueeze(0))[0][0];
  };
  EXPECT_GT(LargestDifference(first_state(3), first_state(4)), 1e-4);
}

TEST(Bert, OldNamesAndPrefixesMeanTheSame) {
  const std::string folder = TestFolder();
  const NamedTensors tensors = TinyBertTensors(3);
  WriteTinyBert(folder + "/new", tensors);
  NamedTensors old;
  for (const auto& [name, tensor] : tensors) {
    std::string renamed = "bert." + name;
    const size_t norm = renamed.find("LayerNorm.");
    if (norm != std::string::npos) {
      const bool weight = renamed.substr(norm + 10) == "weight";
      renamed = renamed.substr(0, norm + 10) + (weight ? "gamma" : "beta");
    }
    old.emplace_back(renamed, tensor);
  }
  WriteTinyBert(folder + "/old", old);
  const std::vector<std::vector<int32_t>> texts = {{1, 2, 3}};
  const Bert expected = LoadTiny(folder + "/new"), found = LoadTiny(folder + "/old");
  EXPECT_TRUE(at::equal(BertMeans(found, texts), BertMeans(expected, texts)));
  EXPECT_NE(found.content_hash, expected.content_hash);
}

TEST(Bert, AMissingTensorIsNamed) {
  const std::string folder = TestFolder();
  NamedTensors tensors = TinyBertTensors(1);
  tensors.pop_back();
  WriteTinyBert(folder, tensors);
  const absl::Status status = LoadBert(folder, at::kCPU, at::kFloat).status();
  EXPECT_EQ(ExitCodeOf(status), kExitData);
  EXPECT_THAT(status.message(), HasSubstr("encoder.layer.1.output.LayerNorm.bias"));
  EXPECT_THAT(status.message(), HasSubstr("model.safetensors"));
}

TEST(Bert, AConfigurationThatIsNoBertIsRefused) {
  const std::string folder = TestFolder();
  for (const auto& [field, value] : {std::pair<std::string, nlohmann::json>{"model_type", "opt"},
                                     {"num_attention_heads", 3},
                                     {"hidden_act", "swish"},
                                     {"hidden_size", -1},
                                     {"position_embedding_type", "relative_key"},
                                     {"max_position_embeddings", 1e30}}) {
    WriteTinyBert(folder, TinyBertTensors(1));
    nlohmann::json config = TinyBertConfig();
    config[field] = value;
    ASSERT_TRUE(WriteFileAtomic(folder + "/config.json", config.dump()).ok());
    const absl::Status status = LoadBert(folder, at::kCPU, at::kFloat).status();
    EXPECT_EQ(ExitCodeOf(status), kExitData) << field;
    EXPECT_THAT(status.message(), HasSubstr(field));
  }
}

TEST(GoldenBert, StatesAreEqual) {
  const char* folder = std::getenv("MIXREC_BERT");
  if (folder == nullptr) GTEST_SKIP() << "MIXREC_BERT names no folder (see docs/testing.md)";
  const auto text = ReadFile(SharedFolder() + "/golden/bert.json");
  if (!text.ok()) GTEST_SKIP() << text.status().message();
  const Bert bert = LoadTiny(folder);
  for (const auto& golden : nlohmann::json::parse(*text)) {
    const auto ids = golden["ids"].get<std::vector<int32_t>>();
    const at::Tensor mean = at::tensor(golden["mean"].get<std::vector<double>>(), at::kFloat);
    EXPECT_LE(LargestDifference(BertMeans(bert, {ids})[0], mean), 1e-4) << golden["text"];
    const std::vector<int64_t> wide(ids.begin(), ids.end());
    const at::Tensor states = BertStates(bert, at::tensor(wide, at::kLong).unsqueeze(0));
    const at::Tensor first =
        at::tensor(golden["first_token"].get<std::vector<double>>(), at::kFloat);
    EXPECT_LE(LargestDifference(states[0][0].narrow(0, 0, first.size(0)), first), 1e-4)
        << golden["text"];
  }
}

}  // namespace
}  // namespace mixrec::model
