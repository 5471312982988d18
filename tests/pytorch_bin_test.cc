// pytorch_model.bin: archives written with PyTorch's own writer around pickles made here, honest
// and not.
#include "model/pytorch_bin.h"

#include <caffe2/serialize/inline_container.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "common/file.h"
#include "common/random.h"

namespace mixrec::model {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Builds the pickle of a state dict, opcode by opcode.
class Pickle {
 public:
  Pickle() { text_ = "\x80\x02"; }
  Pickle& Raw(const std::string& bytes) {
    text_ += bytes;
    return *this;
  }
  Pickle& Text(const std::string& text) {
    const uint32_t size = static_cast<uint32_t>(text.size());
    text_ += "X";
    text_.append(reinterpret_cast<const char*>(&size), 4);
    return Raw(text);
  }
  Pickle& Integer(int64_t value) {
    text_ += std::string("\x8a\x08", 2);
    text_.append(reinterpret_cast<const char*>(&value), 8);
    return *this;
  }
  Pickle& Tuple(const std::vector<int64_t>& values) {
    Raw("(");
    for (const int64_t value : values) Integer(value);
    return Raw("t");
  }
  Pickle& Global(const std::string& module, const std::string& name) {
    return Raw("c" + module + "\n" + name + "\n");
  }
  struct View {
    std::string key = "0", type = "FloatStorage";
    int64_t numel = 6, offset = 0;
    std::vector<int64_t> sizes = {2, 3}, strides = {3, 1};
  };
  Pickle& Tensor(const View& view) {
    Global("torch._utils", "_rebuild_tensor_v2").Raw("((").Text("storage");
    Global("torch", view.type).Text(view.key).Text("cpu").Integer(view.numel).Raw("tQ");
    Integer(view.offset).Tuple(view.sizes).Tuple(view.strides);
    return Raw("\x89").Global("collections", "OrderedDict").Raw(")RtR");
  }
  std::string Done() const { return text_ + "."; }

 private:
  std::string text_;
};

// {"w": tensor}
std::string DictOf(const Pickle::View& view) {
  return Pickle().Raw("}").Text("w").Tensor(view).Raw("s").Done();
}

class PytorchBinTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // An archive with this pickle and one storage "0" of the floats 0..5.
  absl::StatusOr<PytorchBin> OpenWith(const std::string& pickle) {
    caffe2::serialize::PyTorchStreamWriter writer(path_);
    writer.writeRecord("data.pkl", pickle.data(), pickle.size());
    const float values[] = {0, 1, 2, 3, 4, 5};
    writer.writeRecord("data/0", values, sizeof(values));
    writer.writeEndOfFile();
    return PytorchBin::Open(path_);
  }
  void WriteBytes(const std::string& content) { std::ofstream(path_, std::ios::binary) << content; }
  void ExpectRefused(const absl::StatusOr<PytorchBin>& file, const std::string& what) {
    ASSERT_FALSE(file.ok());
    EXPECT_EQ(ExitCodeOf(file.status()), kExitData);
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(what));
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(path_));
  }

  std::string folder_ = ::testing::TempDir() + "pytorch_bin_test";
  std::string path_ = folder_ + "/pytorch_model.bin";
};

TEST_F(PytorchBinTest, ReadsViewsOfAStorage) {
  Pickle pickle;
  pickle.Raw("}(");
  pickle.Text("whole").Tensor({});
  pickle.Text("transposed").Tensor({"0", "FloatStorage", 6, 0, {3, 2}, {1, 3}});
  pickle.Text("tail").Tensor({"0", "FloatStorage", 6, 4, {2}, {1}});
  pickle.Text("note").Text("no tensor");
  auto file = OpenWith(pickle.Raw("u").Done());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->names(), ElementsAre("whole", "transposed", "tail"));
  const at::Tensor whole = at::arange(6, at::kFloat).view({2, 3});
  EXPECT_TRUE(at::equal(*file->Get("whole"), whole));
  EXPECT_TRUE(at::equal(*file->Get("transposed"), whole.t()));
  EXPECT_TRUE(at::equal(*file->Get("tail"), at::tensor({4.0f, 5.0f})));
  EXPECT_THAT(std::string(file->Get("nobody").status().message()), HasSubstr("\"nobody\""));
}

TEST_F(PytorchBinTest, ReadsParametersMemoAndNewerProtocols) {
  Pickle pickle;
  pickle.Global("torch._utils", "_rebuild_parameter").Raw("(").Tensor({}).Raw("\x88");
  pickle.Global("collections", "OrderedDict").Raw(")RtR");
  pickle.Raw("\x94").Raw("0");  // MEMOIZE, POP
  pickle.Raw(
      "\x8c\x0b"
      "collections\x8c\x0bOrderedDict\x93)R");  // STACK_GLOBAL
  pickle.Raw(
      std::string("\x8c\x01w"
                  "h\x00s",
                  6));                            // the memoised parameter
  auto file = OpenWith(pickle.Raw("}b").Done());  // attributes are ignored
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(at::equal(*file->Get("w"), at::arange(6, at::kFloat).view({2, 3})));
}

TEST_F(PytorchBinTest, MaliciousPicklesAreRefusedByName) {
  ExpectRefused(OpenWith(Pickle().Global("posix", "system").Text("true").Raw("\x85R").Done()),
                "posix.system");
  ExpectRefused(OpenWith(Pickle().Global("builtins", "eval").Done()), "builtins.eval");
  ExpectRefused(OpenWith(Pickle().Global("torch", "load").Done()), "torch.load");
  ExpectRefused(OpenWith(Pickle().Raw("\x8c\x02os\x8c\x06system\x93").Done()), "os.system");
  ExpectRefused(OpenWith(Pickle()
                             .Raw("i"
                                  "os\nsystem\n")
                             .Done()),
                "operation 105");
  ExpectRefused(OpenWith(Pickle().Global("collections", "OrderedDict").Raw("(N").Raw("tR").Done()),
                "collections.OrderedDict");
}

TEST_F(PytorchBinTest, BrokenPicklesAreRefused) {
  const std::string good = DictOf({});
  ASSERT_TRUE(OpenWith(good).ok());
  for (size_t size = 0; size < good.size(); ++size) {
    ExpectRefused(OpenWith(good.substr(0, size)), "pickle");
  }
  for (const char* body : {"0", "R", "t", "u", "s", "b", "Q", "h\7", "q\7", "\x87", "N", ")",
                           "K\1Q", "(}1", "))R", "}(Nu", "}N", "X\xff\xff\xff\xff"}) {
    SCOPED_TRACE(body);
    EXPECT_FALSE(OpenWith(Pickle().Raw(body).Done()).ok());
  }
}

TEST_F(PytorchBinTest, DeepAndCyclicObjectsAreHarmless) {
  Pickle deep;
  deep.Raw(")");
  for (int i = 0; i < 300'000; ++i) deep.Raw("\x85");
  ExpectRefused(OpenWith(deep.Done()), "no dict");
  auto cyclic = OpenWith(Pickle().Raw("}q\1").Text("self").Raw("h\1s").Done());
  ASSERT_TRUE(cyclic.ok()) << cyclic.status();
  EXPECT_TRUE(cyclic->names().empty());
}

TEST_F(PytorchBinTest, ViewsOutsideTheirStorageAreRefusedByName) {
  constexpr int64_t kHuge = int64_t{1} << 62;
  const Pickle::View cases[] = {
      {"0", "FloatStorage", 6, 1, {2, 3}, {3, 1}},
      {"0", "FloatStorage", 6, -1, {2}, {1}},
      {"0", "FloatStorage", 6, 0, {-2}, {1}},
      {"0", "FloatStorage", 6, 0, {2}, {-1}},
      {"0", "FloatStorage", 6, 0, {2, 3}, {1}},
      {"0", "FloatStorage", 6, 0, {7}, {0}},
      {"0", "FloatStorage", 6, 0, {kHuge, kHuge}, {0, 0}},
      {"0", "FloatStorage", 6, 0, {3}, {kHuge}},
      {"0", "FloatStorage", 6, 0, {kHuge, kHuge, 0}, {1, 1, 1}},
      {"0", "FloatStorage", 7, 0, {7}, {1}},
      {"0", "FloatStorage", kHuge, 0, {7}, {1}},
      {"0", "FloatStorage", -6, 0, {2}, {1}},
      {"0", "DoubleStorage", 6, 0, {6}, {1}},
      {"9", "FloatStorage", 6, 0, {6}, {1}},
      {"../data.pkl", "FloatStorage", 6, 0, {6}, {1}},
  };
  for (const Pickle::View& view : cases) ExpectRefused(OpenWith(DictOf(view)), "\"w\"");
}

TEST_F(PytorchBinTest, OtherFilesAreRefused) {
  WriteBytes("\x80\x02not a zip");
  ExpectRefused(PytorchBin::Open(path_), "not a zip archive");
  WriteBytes("");
  ExpectRefused(PytorchBin::Open(path_), "not a zip archive");
  ExpectRefused(OpenWith(Pickle().Raw("N").Done()), "no dict");
}

TEST_F(PytorchBinTest, TruncatedArchivesAreRefused) {
  ASSERT_TRUE(OpenWith(DictOf({})).ok());
  const std::string whole = *ReadFile(path_);
  for (size_t size = 0; size < whole.size(); size += 7) {
    WriteBytes(whole.substr(0, size));
    EXPECT_FALSE(PytorchBin::Open(path_).ok()) << size << " bytes";
  }
}

TEST_F(PytorchBinTest, RandomDamageNeverCrashes) {
  const std::string good = DictOf({});
  ASSERT_TRUE(OpenWith(good).ok());
  const std::string whole = *ReadFile(path_);
  RandomStream random(HashKey(2, "damage"));
  int refused = 0;
  for (int round = 0; round < 1000; ++round) {
    // Half of the rounds damage the archive, half the pickle inside a sound one.
    std::string damaged = round % 2 == 0 ? whole : good;
    for (uint64_t changes = 1 + random.Below(4); changes > 0; --changes) {
      damaged[random.Below(damaged.size())] = static_cast<char>(random.Below(256));
    }
    if (round % 2 == 0) {
      WriteBytes(damaged);
    }
    auto file = round % 2 == 0 ? PytorchBin::Open(path_) : OpenWith(damaged);
    if (!file.ok()) ++refused;
    if (!file.ok()) continue;
    for (const std::string& name : file->names()) (void)file->Get(name);
  }
  EXPECT_GT(refused, 300);
}

}  // namespace
}  // namespace mixrec::model
