// Hard samples (paper Appendix A) and vectors for distillation: what is computed once a data set.
#include <chrono>
#include <optional>

#include "absl/strings/str_format.h"
#include "common/file.h"
#include "common/progress.h"
#include "data/mined_hard_samples.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/flags_mine.h"
#include "launch/mining_inputs.h"
#include "launch/options.h"
#include "mining/factorisation.h"
#include "mining/hard_sample_miner.h"
#include "mining/vector_file.h"
#include "nlohmann/json.hpp"

namespace mixrec::launch {
namespace {

using Json = nlohmann::ordered_json;

// A progress line; the first call says what was done before this process.
class Stage {
 public:
  Stage(std::string name, int64_t total) : name_(std::move(name)), total_(total) {}

  void operator()(int64_t done) {
    if (!line_) {
      ProgressOptions options;
      options.name = name_;
      options.total = total_;
      options.first_step = done;
      options.silent_when_short = true;
      line_.emplace(options);
      return;
    }
    if (line_->IsDue(done)) line_->Update(done, "");
  }
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::string name_;
  int64_t total_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::optional<Progress> line_;
};

// Encodes in fp32 unless another precision is asked for: neighbours are compared by small
// differences.
absl::StatusOr<mining::TextEncoder> LoadEncoder(const Compute& compute) {
  return mining::LoadTextEncoder(FLAGS_bert, compute.device,
                                 FLAGS_precision == "bf16" ? at::kBFloat16 : at::kFloat);
}

mining::VectorFileOptions VectorFile(const data::Dataset& dataset, const std::string& name,
                                     Json made_from) {
  mining::VectorFileOptions options;
  options.path = StrCat(FLAGS_out, "/", name);
  options.rows = dataset.items();
  made_from["data"] = dataset.content_hash();
  made_from["items"] = data::ItemsHash(dataset);
  options.made_from = made_from.dump();
  return options;
}

absl::StatusOr<at::Tensor> TextVectors(const data::Dataset& dataset,
                                       const mining::TextEncoder& encoder, std::ostream& out) {
  Stage stage("text vectors", dataset.items());
  const auto make = [&](int64_t first, int64_t count) -> absl::StatusOr<at::Tensor> {
    std::vector<std::string> sentences;
    for (int64_t item = first; item < first + count; ++item) {
      sentences.push_back(dataset.sentence(static_cast<int32_t>(item)));
    }
    return mining::EncodeTexts(encoder, sentences, FLAGS_bert_tokens);
  };
  const auto file =
      VectorFile(dataset, "text_vectors.bin",
                 {{"encoder", encoder.bert.content_hash},
                  {"precision", c10::toString(encoder.bert.word_embedding.scalar_type())},
                  {"tokens", FLAGS_bert_tokens},
                  {"fields", FLAGS_item_fields}});
  MIXREC_ASSIGN_OR_RETURN(const at::Tensor vectors,
                          mining::LoadOrMakeVectors(file, make, std::ref(stage)));
  out << absl::StrFormat("text vectors: %d items, %d dimensions (%.1f s)\n", vectors.size(0),
                         vectors.size(1), stage.seconds());
  return vectors;
}

absl::StatusOr<at::Tensor> LatentVectors(const data::Dataset& dataset, std::ostream& out) {
  mining::FactorisationOptions options;
  options.dimensions = FLAGS_mf_dim;
  options.iterations = static_cast<int>(FLAGS_mf_iterations);
  options.seed = static_cast<uint64_t>(FLAGS_seed);
  Stage stage("factorisation", options.iterations);
  at::Tensor all;
  const auto make = [&](int64_t first, int64_t count) -> absl::StatusOr<at::Tensor> {
    if (!all.defined()) {
      MIXREC_ASSIGN_OR_RETURN(const mining::Factorisation result,
                              mining::FactoriseItems(mining::UserItemMatrix(dataset), options,
                                                     [&](int done, int) { stage(done); }));
      all = result.item_vectors;
    }
    return all.narrow(0, first, count);
  };
  const auto file = VectorFile(
      dataset, "mf_vectors.bin",
      {{"dimensions", FLAGS_mf_dim}, {"iterations", FLAGS_mf_iterations}, {"seed", FLAGS_seed}});
  MIXREC_ASSIGN_OR_RETURN(const at::Tensor vectors, mining::LoadOrMakeVectors(file, make));
  out << absl::StrFormat("factorisation: %d items, %d dimensions (%.1f s)\n", vectors.size(0),
                         vectors.size(1), stage.seconds());
  return vectors;
}

mining::MiningOptions MiningOptionsOfFlags(const mining::TextEncoder& encoder, at::Device device) {
  mining::MiningOptions options;
  options.top_fraction = FLAGS_top_fraction;
  options.max_neighbours = FLAGS_max_neighbours;
  options.search.device = device;
  if (device.is_cuda()) {  // larger pieces, 1 GiB of scores at a time
    options.block_items = 2048;
    options.search.item_block = 131072;
  }
  options.settings =
      Json{{"encoder", encoder.bert.content_hash}, {"bert_tokens", FLAGS_bert_tokens},
           {"item_fields", FLAGS_item_fields},     {"mf_dim", FLAGS_mf_dim},
           {"mf_iterations", FLAGS_mf_iterations}, {"seed", FLAGS_seed},
           {"top_fraction", FLAGS_top_fraction}}
          .dump();
  return options;
}

absl::Status PrintSets(const data::Dataset& dataset, const std::string& path, double seconds,
                       std::ostream& out) {
  MIXREC_ASSIGN_OR_RETURN(const auto mined, data::MinedHardSamples::Load(path, dataset));
  const data::HardSampleSizes sizes = mined->Sizes();
  out << absl::StrFormat(
             "hard samples: %.1f an item on average, from %d to %d; %d items have none, %d fewer "
             "than 5 (%.1f s)\n",
             sizes.mean, sizes.smallest, sizes.largest, sizes.empty, mined->ItemsWithFewerThan(5),
             seconds)
      << "wrote " << path << " (next: mixrec train --hard_samples=" << path << ")" << std::endl;
  return absl::OkStatus();
}

absl::Status MineSets(const data::Dataset& dataset, const mining::TextEncoder& encoder,
                      at::Device device, std::ostream& out) {
  MIXREC_RETURN_IF_ERROR(MakeFolder(FLAGS_out));
  MIXREC_ASSIGN_OR_RETURN(const at::Tensor text, TextVectors(dataset, encoder, out));
  MIXREC_ASSIGN_OR_RETURN(const at::Tensor latent, LatentVectors(dataset, out));
  const mining::MiningOptions options = MiningOptionsOfFlags(encoder, device);
  out << "neighbours: " << mining::NeighbourCount(dataset.items(), options)
      << " an item in each space" << std::endl;
  const std::string path = StrCat(FLAGS_out, "/hard_samples.bin");
  Stage stage("hard samples", dataset.items());
  MIXREC_RETURN_IF_ERROR(
      mining::MineHardSamples(dataset, text, latent, options, path, std::ref(stage)));
  return PrintSets(dataset, path, stage.seconds(), out);
}

absl::Status WriteVectors(const data::Dataset& dataset, const mining::TextEncoder& encoder,
                          std::ostream& out) {
  MIXREC_ASSIGN_OR_RETURN(const auto texts, DistillationTexts(dataset));
  Stage stage("vectors", 2 * static_cast<int64_t>(texts.size()));
  MIXREC_RETURN_IF_ERROR(mining::WriteTextVectors(encoder, texts, FLAGS_bert_tokens,
                                                  FLAGS_vectors_out, std::ref(stage)));
  out << absl::StrFormat(
      "wrote %s: %d texts, %d dimensions (%.1f s; next: mixrec pretrain "
      "--distill=%s)\n",
      FLAGS_vectors_out, texts.size(), encoder.bert.config.hidden, stage.seconds(),
      FLAGS_vectors_out);
  return absl::OkStatus();
}

absl::Status Mine(std::ostream& out) {
  MIXREC_ASSIGN_OR_RETURN(const Compute compute, SetUpCompute());
  MIXREC_ASSIGN_OR_RETURN(const data::Dataset dataset, data::LoadDataset(DatasetOptionsOfFlags()));
  for (const std::string& line : data::Describe(dataset.stats())) out << line << "\n";
  MIXREC_ASSIGN_OR_RETURN(const mining::TextEncoder encoder, LoadEncoder(compute));
  if (!FLAGS_out.empty()) {
    MIXREC_RETURN_IF_ERROR(MineSets(dataset, encoder, compute.device, out));
  }
  if (!FLAGS_vectors_out.empty()) {
    MIXREC_RETURN_IF_ERROR(WriteVectors(dataset, encoder, out));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunMine(const Invocation& invocation) {
  MIXREC_RETURN_IF_ERROR(RequireFlag("data", FLAGS_data));
  MIXREC_RETURN_IF_ERROR(RequireFlag("bert", FLAGS_bert));
  if (FLAGS_out.empty() && FLAGS_vectors_out.empty()) {
    return UsageError("--out is missing (a folder for hard samples), or --vectors_out (a file)");
  }
  try {
    return Mine(*invocation.out);
  } catch (const c10::OutOfMemoryError&) {
    return MemoryError("the GPU's memory is too small for these items; use --device=cpu");
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    return FailureError("mining failed: ", text.substr(0, text.find('\n')));
  }
}

}  // namespace mixrec::launch
