// Loading OPT checkpoints and the plain forward pass, against golden values and damaged files.
#include "model/backbone.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
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

constexpr double kTolerance = 1e-4;

// The folders in `parent` whose names start with `prefix` and that hold `file`, sorted.
std::vector<fs::path> FoldersWith(const fs::path& parent, const std::string& prefix,
                                  const std::string& file) {
  std::vector<fs::path> folders;
  if (!fs::is_directory(parent)) return folders;
  for (const auto& entry : fs::directory_iterator(parent)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(prefix, 0) == 0 && fs::exists(entry.path() / file)) {
      folders.push_back(entry.path());
    }
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

double LargestDifference(const at::Tensor& found, const at::Tensor& expected) {
  EXPECT_EQ(found.sizes(), expected.sizes());
  return (found - expected).abs().max().item<double>();
}

at::Tensor Matrix(const Json& rows) {
  std::vector<at::Tensor> tensors;
  for (const Json& row : rows) {
    tensors.push_back(at::tensor(row.get<std::vector<double>>(), at::kFloat));
  }
  return at::stack(tensors);
}

Backbone LoadFloat(const fs::path& folder) {
  auto backbone = LoadBackbone(folder.string(), at::kCPU, at::kFloat);
  EXPECT_TRUE(backbone.ok()) << backbone.status();
  return backbone.ok() ? *std::move(backbone) : Backbone();
}

// layers[k] is the last token's state before layer k; the last entry the final one.
void ExpectGolden(const Backbone& backbone, const Json& golden) {
  const auto ids = golden["ids"].get<std::vector<int64_t>>();
  const PlainForward forward = ForwardPlain(backbone, ids);
  const Json& layers = golden["layers"];
  ASSERT_EQ(layers.size(), forward.layer_inputs.size() + 1);
  for (size_t k = 0; k < layers.size(); ++k) {
    const at::Tensor expected = Matrix(layers[k]).reshape({-1});
    const at::Tensor& state =
        k < forward.layer_inputs.size() ? forward.layer_inputs[k] : forward.last_hidden_state;
    EXPECT_LE(LargestDifference(state[-1], expected), kTolerance) << "layer " << k;
  }
  EXPECT_LE(LargestDifference(forward.last_hidden_state,
                              Matrix(golden["last"]).reshape(forward.last_hidden_state.sizes())),
            kTolerance);
  const at::Tensor logits =
      at::tensor(golden["logits_last"].get<std::vector<double>>(), at::kFloat);
  EXPECT_LE(LargestDifference(forward.logits[-1].narrow(0, 0, logits.size(0)), logits), kTolerance);
}

class GoldenOpt : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(fs::path(SharedFolder()) / "golden"))
      GTEST_SKIP() << "no golden values; set MIXREC_SHARED";
  }
};

TEST_F(GoldenOpt, EveryLayerEqualsTheReference) {
  const auto folders = FoldersWith(fs::path(SharedFolder()) / "golden", "opt_", "golden.json");
  ASSERT_FALSE(folders.empty());
  for (const fs::path& folder : folders) {
    SCOPED_TRACE(folder.string());
    const Json golden = Json::parse(*ReadFile((folder / "golden.json").string()));
    ASSERT_FALSE(golden.empty());
    const Backbone backbone = LoadFloat(folder);
    ASSERT_TRUE(backbone.word_embedding.defined());
    for (const Json& example : golden) ExpectGolden(backbone, example);
  }
}

TEST_F(GoldenOpt, PytorchBinHoldsTheSameWeightsAsSafetensors) {
  for (const fs::path& folder :
       FoldersWith(fs::path(SharedFolder()) / "golden", "opt_", "pytorch_model.bin")) {
    SCOPED_TRACE(folder.string());
    const fs::path copy = fs::path(::testing::TempDir()) / folder.filename();
    fs::create_directories(copy);
    for (const char* file : {"config.json", "pytorch_model.bin"}) {
      fs::copy_file(folder / file, copy / file, fs::copy_options::overwrite_existing);
    }
    const Backbone expected = LoadFloat(folder), found = LoadFloat(copy);
    const auto expected_tensors = CheckpointTensors(expected);
    const auto found_tensors = CheckpointTensors(found);
    ASSERT_EQ(found_tensors.size(), expected_tensors.size());
    for (size_t i = 0; i < found_tensors.size(); ++i) {
      EXPECT_TRUE(at::equal(found_tensors[i].second, expected_tensors[i].second))
          << found_tensors[i].first;
    }
    fs::remove_all(copy);
  }
}

TEST_F(GoldenOpt, PlainForwardOfTheModelCasesEqualsTheReference) {
  const auto folders = FoldersWith(fs::path(SharedFolder()) / "golden" / "mixrec", "backbone_",
                                   "plain_forward.safetensors");
  ASSERT_FALSE(folders.empty());
  for (const fs::path& folder : folders) {
    SCOPED_TRACE(folder.string());
    const Backbone backbone = LoadFloat(folder);
    auto golden = SafetensorsFile::Open((folder / "plain_forward.safetensors").string());
    ASSERT_TRUE(golden.ok()) << golden.status();
    const at::Tensor ids = golden->Get("input_ids")->to(at::kLong).contiguous();
    const at::Tensor last = *golden->Get("last_hidden_state"), logits = *golden->Get("lm_logits");
    for (int64_t row = 0; row < ids.size(0); ++row) {
      const int64_t* begin = ids[row].data_ptr<int64_t>();
      const PlainForward forward =
          ForwardPlain(backbone, std::vector<int64_t>(begin, begin + ids.size(1)));
      EXPECT_LE(LargestDifference(forward.last_hidden_state, last[row]), kTolerance);
      EXPECT_LE(LargestDifference(forward.logits, logits[row]), kTolerance);
    }
  }
}

// --- checkpoints made here ---

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
