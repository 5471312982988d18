// Loading OPT checkpoints: those made here, and damaged ones.
#include "model/backbone.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/file.h"
#include "model/backbone_create.h"
#include "model/safetensors.h"
#include "tests/test_folder.h"

namespace mixrec::model {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::HasSubstr;

OptConfig TinyConfig(bool pre_layer_norm) {
  OptConfig config;
  config.vocab_size = 20;
  config.hidden = 8;
  config.layers = 2;
  config.heads = 2;
  config.ffn = 12;
  config.max_positions = 16;
  config.word_width = pre_layer_norm ? 8 : 4;
  config.pre_layer_norm = config.final_layer_norm = pre_layer_norm;
  return config;
}

class BackboneTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    original_ = *RandomBackbone(TinyConfig(true), 7, at::kFloat);
    ASSERT_TRUE(WriteBackbone(original_, folder_, at::kFloat).ok());
  }
  void TearDown() override { fs::remove_all(folder_); }

  NamedTensors Written() {
    auto file = SafetensorsFile::Open(folder_ + "/model.safetensors");
    NamedTensors tensors;
    for (const std::string& name : file->names()) tensors.emplace_back(name, *file->Get(name));
    return tensors;
  }
  void ExpectLoadsAsOriginal() {
    const auto found = LoadBackbone(folder_, at::kCPU, at::kFloat);
    ASSERT_TRUE(found.ok()) << found.status();
    const auto expected_tensors = CheckpointTensors(original_);
    const auto found_tensors = CheckpointTensors(*found);
    for (size_t i = 0; i < expected_tensors.size(); ++i) {
      EXPECT_TRUE(at::equal(found_tensors[i].second, expected_tensors[i].second))
          << expected_tensors[i].first;
    }
  }
  void ExpectRefused(const std::string& what) {
    const auto found = LoadBackbone(folder_, at::kCPU, at::kFloat);
    ASSERT_FALSE(found.ok());
    EXPECT_EQ(ExitCodeOf(found.status()), kExitData);
    EXPECT_THAT(std::string(found.status().message()), HasSubstr(what));
  }
  void EditConfig(const std::string& field, const Json& value) {
    const std::string path = folder_ + "/config.json";
    Json json = Json::parse(*ReadFile(path));
    json[field] = value;
    ASSERT_TRUE(WriteFileAtomic(path, json.dump()).ok());
  }
  // Moves the weights into two shards with an index.
  void Shard(const std::string& second_shard) {
    Json map;
    NamedTensors shards[2];
    for (const auto& [name, tensor] : Written()) {
      const int shard = shards[0].size() > shards[1].size();
      shards[shard].emplace_back(name, tensor);
      map[name] = shard == 0 ? "model-1.safetensors" : second_shard;
    }
    ASSERT_TRUE(WriteSafetensors(folder_ + "/model-1.safetensors", shards[0], {}).ok());
    ASSERT_TRUE(WriteSafetensors(folder_ + "/model-2.safetensors", shards[1], {}).ok());
    fs::remove(folder_ + "/model.safetensors");
    const Json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", map}};
    ASSERT_TRUE(WriteFileAtomic(folder_ + "/model.safetensors.index.json", index.dump()).ok());
  }

  std::string folder_ = ::testing::TempDir() + "backbone_test";
  Backbone original_;
};

TEST_F(BackboneTest, WrittenCheckpointLoadsBackInBothLayouts) {
  ExpectLoadsAsOriginal();
  original_ = *RandomBackbone(TinyConfig(false), 8, at::kFloat);
  ASSERT_TRUE(WriteBackbone(original_, folder_, at::kFloat).ok());
  ExpectLoadsAsOriginal();
}

TEST_F(BackboneTest, NarrowTypesAreConvertedOnLoading) {
  ASSERT_TRUE(WriteBackbone(original_, folder_, at::kBFloat16).ok());
  const auto found = LoadBackbone(folder_, at::kCPU, at::kFloat);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(
      at::equal(found->word_embedding, original_.word_embedding.to(at::kBFloat16).to(at::kFloat)));
}

TEST_F(BackboneTest, OtherPrefixesAndExtraTensorsAreAccepted) {
  for (const std::string prefix : {"decoder.", ""}) {
    NamedTensors renamed = {{"lm_head.weight", at::zeros({2, 2})}};
    for (const auto& [name, tensor] : CheckpointTensors(original_)) {
      renamed.emplace_back(prefix + name, tensor);
    }
    ASSERT_TRUE(WriteSafetensors(folder_ + "/model.safetensors", renamed, {}).ok());
    ExpectLoadsAsOriginal();
  }
}

TEST_F(BackboneTest, ShardsWithAnIndexAreLoaded) {
  Shard("model-2.safetensors");
  ExpectLoadsAsOriginal();
}

TEST_F(BackboneTest, IndexThatLiesIsRefused) {
  Shard("../model-2.safetensors");
  ExpectRefused("is not the name of a file");
  fs::remove(folder_ + "/model.safetensors.index.json");
  ExpectRefused("no weights");
}

TEST_F(BackboneTest, MissingMismatchedAndNonFiniteTensorsAreNamed) {
  const NamedTensors tensors = Written();
  const std::string path = folder_ + "/model.safetensors";
  for (size_t i = 0; i < tensors.size(); i += 5) {
    SCOPED_TRACE(tensors[i].first);
    NamedTensors damaged = tensors;
    damaged.erase(damaged.begin() + static_cast<std::ptrdiff_t>(i));
    ASSERT_TRUE(WriteSafetensors(path, damaged, {}).ok());
    ExpectRefused("\" is missing");
    damaged = tensors;
    damaged[i].second = at::zeros({3, 3});
    ASSERT_TRUE(WriteSafetensors(path, damaged, {}).ok());
    ExpectRefused(tensors[i].first + "\" has the shape [3, 3]");
    damaged[i].second = tensors[i].second.clone();
    damaged[i].second.view({-1})[0] = NAN;
    ASSERT_TRUE(WriteSafetensors(path, damaged, {}).ok());
    ExpectRefused(tensors[i].first + "\" holds values that are not finite");
    damaged[i].second = tensors[i].second.to(at::kLong);
    ASSERT_TRUE(WriteSafetensors(path, damaged, {}).ok());
    ExpectRefused(tensors[i].first + "\" holds no floating-point");
  }
}

TEST_F(BackboneTest, BadConfigurationsNameTheField) {
  const std::pair<const char*, Json> cases[] = {{"model_type", "bert"},
                                                {"activation_function", "gelu"},
                                                {"enable_bias", false},
                                                {"hidden_size", -8},
                                                {"hidden_size", "8"},
                                                {"hidden_size", 1e30},
                                                {"num_attention_heads", 3},
                                                {"num_attention_heads", 0},
                                                {"vocab_size", nullptr},
                                                {"num_hidden_layers", 1e9},
                                                {"do_layer_norm_before", 1},
                                                {"ffn_dim", 1.5},
                                                {"layer_norm_elementwise_affine", false}};
  for (const auto& [field, value] : cases) {
    ASSERT_TRUE(WriteBackbone(original_, folder_, at::kFloat).ok());
    EditConfig(field, value);
    ExpectRefused(std::string("\"") + field + "\"");
  }
  ASSERT_TRUE(WriteFileAtomic(folder_ + "/config.json", "[").ok());
  ExpectRefused("not a JSON object");
}

TEST_F(BackboneTest, ConfigurationBeyondTheFileIsRefusedBeforeAllocating) {
  EditConfig("vocab_size", 1 << 24);
  ExpectRefused("embed_tokens.weight\" has the shape [20, 8]");
}

TEST_F(BackboneTest, MoreMemoryThanThereIsIsAMemoryError) {
  OptConfig config = *PublishedShape("opt-66b");
  config.layers = 4096;
  EXPECT_EQ(ExitCodeOf(RandomBackbone(config, 1, at::kFloat).status()), kExitMemory);
}

TEST_F(BackboneTest, ClosedFormOfBytesCountsEveryTensor) {
  for (const bool pre_layer_norm : {true, false}) {
    const Backbone backbone = AllocateBackbone(TinyConfig(pre_layer_norm), at::kMeta, at::kHalf);
    int64_t bytes = 0;
    for (const auto& [name, tensor] : CheckpointTensors(backbone)) {
      bytes += static_cast<int64_t>(tensor.nbytes());
    }
    EXPECT_EQ(BackboneBytes(backbone.config, at::kHalf), bytes);
  }
  EXPECT_EQ(BackboneBytes(*PublishedShape("opt-125m"), at::kFloat), 4 * 125'239'296);
}

TEST_F(BackboneTest, ContentHashFollowsWeightsAndConfiguration) {
  const std::string first = LoadBackbone(folder_, at::kCPU, at::kFloat)->content_hash;
  EXPECT_EQ(LoadBackbone(folder_, at::kCPU, at::kHalf)->content_hash, first);
  EditConfig("dropout", 0.3);
  const std::string second = LoadBackbone(folder_, at::kCPU, at::kFloat)->content_hash;
  EXPECT_NE(second, first);
  ASSERT_TRUE(
      WriteBackbone(*RandomBackbone(TinyConfig(true), 9, at::kFloat), folder_, at::kFloat).ok());
  EXPECT_NE(LoadBackbone(folder_, at::kCPU, at::kFloat)->content_hash, first);
}

TEST_F(BackboneTest, RandomWeightsFollowTheSeedAlone) {
  const Backbone again = *RandomBackbone(TinyConfig(true), 7, at::kFloat);
  EXPECT_TRUE(at::equal(again.word_embedding, original_.word_embedding));
  EXPECT_FALSE(at::equal(again.layers[0].fc1_weight, again.layers[1].fc1_weight));
  OptConfig config = TinyConfig(true);
  config.vocab_size = 50'000;
  const Backbone large = *RandomBackbone(config, 7, at::kFloat);
  EXPECT_TRUE(at::equal(large.word_embedding.narrow(0, 0, 20), original_.word_embedding));
  EXPECT_NEAR(large.word_embedding.std().item<double>(), 0.02, 2e-4);
  EXPECT_NEAR(large.word_embedding.mean().item<double>(), 0, 2e-4);
}

TEST_F(BackboneTest, UnknownPublishedShapesAreUsageErrors) {
  EXPECT_EQ(ExitCodeOf(PublishedShape("opt-7b").status()), kExitUsage);
  for (const std::string& name : PublishedShapes()) EXPECT_TRUE(PublishedShape(name).ok()) << name;
  EXPECT_EQ(PublishedShape("opt-350m")->word_width, 512);
}

}  // namespace
}  // namespace mixrec::model
