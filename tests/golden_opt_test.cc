// Checkpoints of OPT and the plain forward pass against golden values.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/file.h"
#include "model/backbone.h"
#include "model/safetensors.h"
#include "tests/test_folder.h"

namespace mixrec::model {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

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

}  // namespace
}  // namespace mixrec::model
