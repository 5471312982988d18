#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/file.h"
#include "common/progress.h"
#include "data/dataset.h"
#include "data/tokenizer.h"
#include "launch/commands.h"
#include "launch/distill_inputs.h"
#include "launch/flags.h"
#include "launch/flags_mine.h"
#include "launch/mining_inputs.h"
#include "launch/options.h"
#include "model/backbone_create.h"
#include "model/pretrain.h"

namespace mixrec::launch {
namespace {

constexpr const char* kTrainPrefix = "train:";

at::ScalarType OutputType() {
  if (FLAGS_dtype == "bf16") return at::kBFloat16;
  return FLAGS_dtype == "fp16" ? at::kHalf : at::kFloat;
}

struct Texts {
  std::vector<std::string> sentences;  // of items, and the extra texts: what is distilled
  std::vector<std::string> language;   // what the language model learns
};

std::vector<std::string> Sentences(const data::Dataset& dataset) {
  std::vector<std::string> sentences;
  for (int32_t item = 0; item < dataset.items(); ++item)
    sentences.push_back(dataset.sentence(item));
  return sentences;
}

absl::StatusOr<Texts> MakeTexts(const data::Dataset& dataset) {
  Texts texts{Sentences(dataset), {}};
  if (!FLAGS_text_fields.empty() && dataset.items() > 0) {
    data::DatasetOptions options = DatasetOptionsOfFlags();
    options.item_fields = SplitList(FLAGS_text_fields);
    MIXREC_ASSIGN_OR_RETURN(const data::Dataset whole, data::LoadDataset(options));
    texts.language = Sentences(whole);
  } else {
    texts.language = texts.sentences;
  }
  MIXREC_ASSIGN_OR_RETURN(const std::vector<std::string> extra, ExtraTexts());
  texts.sentences.insert(texts.sentences.end(), extra.begin(), extra.end());
  texts.language.insert(texts.language.end(), extra.begin(), extra.end());
  return texts;
}

// --tokenizer: a folder, or train:SIZE on these texts.
absl::StatusOr<data::Tokenizer> MakeTokenizer(const std::vector<std::string>& texts) {
  if (!absl::StartsWith(FLAGS_tokenizer, kTrainPrefix)) {
    return data::Tokenizer::Load(FLAGS_tokenizer);
  }
  int size = 0;
  if (!absl::SimpleAtoi(absl::StripPrefix(FLAGS_tokenizer, kTrainPrefix), &size) || size < 260) {
    return UsageError("--tokenizer=", FLAGS_tokenizer,
                      ": expected train:SIZE with a whole number of at least 260");
  }
  if (texts.empty()) return UsageError("--tokenizer=", FLAGS_tokenizer, " needs --data");
  return data::TrainBpe(texts, size);
}

// A random checkpoint of a published shape; with a tokenizer when one was named.
absl::Status WriteShape(const Invocation& invocation, const std::vector<std::string>& texts) {
  if (FLAGS_epochs > 0) {
    return UsageError("--shape=", FLAGS_shape, " is written with random weights: add --epochs=0");
  }
  MIXREC_ASSIGN_OR_RETURN(const model::OptConfig config, model::PublishedShape(FLAGS_shape));
  std::optional<data::Tokenizer> tokenizer;
  if (!FLAGS_tokenizer.empty()) {
    MIXREC_ASSIGN_OR_RETURN(tokenizer, MakeTokenizer(texts));
  }
  const int64_t bytes = model::BackboneBytes(config, OutputType());
  *invocation.out << FLAGS_shape << ": " << absl::StrFormat("%.2f GB", bytes / 1e9) << std::endl;
  if (FLAGS_dry_run) return absl::OkStatus();
  MIXREC_ASSIGN_OR_RETURN(
      const model::Backbone backbone,
      model::RandomBackbone(config, static_cast<uint64_t>(FLAGS_seed), OutputType()));
  MIXREC_RETURN_IF_ERROR(model::WriteBackbone(backbone, FLAGS_out, OutputType()));
  return tokenizer ? tokenizer->Save(FLAGS_out) : absl::OkStatus();
}

model::PretrainOptions PretrainOptionsOfFlags(const Compute& compute) {
  model::PretrainOptions options;
  options.hidden = FLAGS_hidden;
  options.layers = FLAGS_layers;
  options.heads = FLAGS_heads;
  options.ffn = FLAGS_ffn;
  options.epochs = FLAGS_epochs;
  options.batch = FLAGS_batch;
  options.context = FLAGS_context;
  options.learning_rate = FLAGS_lr;
  options.weight_decay = FLAGS_weight_decay;
  options.clip_norm = FLAGS_clip_norm;
  options.dropout = FLAGS_dropout;
  options.offset_probability = FLAGS_offset_probability;
  options.distill.sequences = FLAGS_distill_sequences;
  options.distill.texts = FLAGS_distill_texts;
  options.distill.weight = FLAGS_distill_weight;
  options.distill.contrast_weight = FLAGS_distill_contrast;
  options.distill.temperature = FLAGS_distill_temperature;
  options.seed = static_cast<uint64_t>(FLAGS_seed);
  options.device = compute.device;
  options.compute_dtype = compute.dtype;
  options.output_dtype = OutputType();
  return options;
}

// Pretrain with a progress line.
absl::Status Train(const model::PretrainOptions& options, int64_t vocab_size,
                   const model::PretrainInputs& inputs) {
  std::optional<Progress> progress;
  const auto on_step = [&](const model::PretrainProgress& now) {
    if (!progress) {
      ProgressOptions line;
      line.name = "pretrain";
      line.total = now.steps;
      line.first_step = now.step - 1;
      progress.emplace(line);
    }
    if (!progress->IsDue(now.step)) return;
    const std::string distillation =
        inputs.targets.defined()
            ? absl::StrFormat("distil %.4f, cosine %.3f | ", now.distill_loss, now.distill_cosine)
            : "";
    progress->Update(now.step, absl::StrFormat("loss %.4f | %s%.0f tokens/s", now.loss,
                                               distillation, now.tokens_per_second));
  };
  const absl::Status status = model::Pretrain(options, vocab_size, inputs, FLAGS_out, on_step);
  if (progress) progress->Finish();
  return status;
}

absl::Status PretrainOn(const Invocation& invocation, const data::Dataset& dataset,
                        const Texts& texts) {
  MIXREC_ASSIGN_OR_RETURN(const Compute compute, SetUpCompute());
  const model::PretrainOptions options = PretrainOptionsOfFlags(compute);
  MIXREC_ASSIGN_OR_RETURN(const data::Tokenizer tokenizer, MakeTokenizer(texts.language));
  MIXREC_ASSIGN_OR_RETURN(const model::OptConfig config,
                          model::PretrainConfig(options, tokenizer.vocab_size()));
  model::PretrainInputs inputs;
  int64_t tokens = 0;
  for (const std::string& text : texts.language) {
    inputs.documents.push_back(tokenizer.Encode(text));
    tokens += static_cast<int64_t>(inputs.documents.back().size()) + 1;
  }
  const int64_t bytes = model::BackboneBytes(config, options.output_dtype);
  *invocation.out << "language model: hidden " << config.hidden << ", " << config.layers
                  << " layers, " << config.heads << " heads, vocabulary " << config.vocab_size
                  << absl::StrFormat(" (%.1f MB)", bytes / 1e6)
                  << "\ntext: " << texts.language.size() << " texts, " << tokens << " tokens, "
                  << model::PretrainSteps(options, tokens) << " steps" << std::endl;
  if (FLAGS_dry_run) return absl::OkStatus();
  MIXREC_RETURN_IF_ERROR(MakeFolder(FLAGS_out));
  MIXREC_RETURN_IF_ERROR(tokenizer.Save(FLAGS_out));
  if (!FLAGS_distill.empty()) {
    MIXREC_RETURN_IF_ERROR(AddDistillation(dataset, texts.sentences, tokenizer, compute, &inputs));
  }
  return Train(options, tokenizer.vocab_size(), inputs);
}

}  // namespace

absl::Status RunPretrain(const Invocation& invocation) {
  if (!FLAGS_dry_run) MIXREC_RETURN_IF_ERROR(RequireFlag("out", FLAGS_out));
  const bool shape = !FLAGS_shape.empty();
  data::Dataset dataset;
  if (!FLAGS_data.empty() || !shape) {
    MIXREC_RETURN_IF_ERROR(RequireFlag("data", FLAGS_data));
    MIXREC_ASSIGN_OR_RETURN(dataset, data::LoadDataset(DatasetOptionsOfFlags()));
  }
  MIXREC_ASSIGN_OR_RETURN(const Texts texts, MakeTexts(dataset));
  if (!shape) MIXREC_RETURN_IF_ERROR(RequireFlag("tokenizer", FLAGS_tokenizer));
  MIXREC_RETURN_IF_ERROR(shape ? WriteShape(invocation, texts.language)
                               : PretrainOn(invocation, dataset, texts));
  if (!FLAGS_dry_run) *invocation.out << "wrote " << FLAGS_out << std::endl;
  return absl::OkStatus();
}

}  // namespace mixrec::launch
