#include "model/pretrain.h"

#include <ATen/core/grad_mode.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <tuple>

#include "common/file.h"
#include "common/log.h"
#include "common/stop_signal.h"
#include "model/backbone_create.h"
#include "model/pretrain_batches.h"
#include "model/pretrain_distill.h"
#include "model/pretrain_model.h"
#include "model/safetensors.h"
#include "tensor/optimizer.h"

namespace mixrec::model {
namespace {

constexpr const char* kStateFormat = "mixrec pretrain state 1";

absl::Status CheckCount(const char* name, int64_t value) {
  return value >= 1 && value <= 1 << 24
             ? absl::OkStatus()
             : UsageError(name, " must be between 1 and ", 1 << 24, ", found ", value);
}

absl::Status CheckOptions(const PretrainOptions& options) {
  MIXREC_RETURN_IF_ERROR(CheckCount("batch", options.batch));
  MIXREC_RETURN_IF_ERROR(CheckCount("context", options.context));
  if (options.epochs < 0) return UsageError("epochs must not be negative");
  if (options.context > options.max_positions) {
    return UsageError("context ", options.context, " is longer than max_positions ",
                      options.max_positions);
  }
  if (!(options.learning_rate > 0)) return UsageError("the learning rate must be positive");
  if (!(options.dropout >= 0 && options.dropout < 1))
    return UsageError("dropout must be in [0, 1)");
  return absl::OkStatus();
}

absl::Status CheckDistillation(const DistillOptions& options, int64_t max_positions) {
  MIXREC_RETURN_IF_ERROR(CheckCount("distill sequences", options.sequences));
  MIXREC_RETURN_IF_ERROR(CheckCount("distill texts", options.texts));
  MIXREC_RETURN_IF_ERROR(CheckCount("distill text_tokens", options.text_tokens));
  if (options.texts * (options.text_tokens + 1) > max_positions) {
    return UsageError(options.texts, " distilled texts of ", options.text_tokens,
                      " tokens and [SEQ] are longer than max_positions ", max_positions);
  }
  if (!(options.temperature > 0)) return UsageError("the temperature must be positive");
  return absl::OkStatus();
}

// What the caller made must fit together.
void CheckInputs(const PretrainInputs& inputs, const OptConfig& config) {
  if (inputs.targets.defined()) {
    CHECK(inputs.targets.dim() == 2 && inputs.targets.scalar_type() == at::kFloat &&
          inputs.targets.size(0) == static_cast<int64_t>(inputs.distilled.size()))
        << "a target for every distilled text";
  }
  if (inputs.word_start.defined()) {
    CHECK(inputs.word_start.scalar_type() == at::kFloat &&
          inputs.word_start.sizes() == at::IntArrayRef({config.vocab_size, config.hidden}))
        << "a row for every word";
  }
}

std::string TensorHash(const at::Tensor& tensor) {
  if (!tensor.defined()) return "none";
  const at::Tensor bytes = tensor.contiguous();
  return ContentHash({static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes()});
}

std::string TokensHash(const std::vector<std::vector<int32_t>>& documents) {
  std::string tokens;
  for (const auto& document : documents) {
    tokens.append(reinterpret_cast<const char*>(document.data()),
                  document.size() * sizeof(document[0]));
    tokens.append("\xff\xff\xff\xff", 4);
  }
  return ContentHash(tokens);
}

std::string DistillationFingerprint(const DistillOptions& options, const PretrainInputs& inputs) {
  const std::string start = TensorHash(inputs.word_start);
  if (!inputs.targets.defined()) return start;
  return StrCat(start, " ", TensorHash(inputs.targets), " ", TokensHash(inputs.distilled), " ",
                options.sequences, " ", options.texts, " ", options.text_tokens, " ",
                options.weight, " ", options.contrast_weight, " ", options.temperature);
}

// What a saved state must agree with: every option that changes the result, and the text.
std::string Fingerprint(const PretrainOptions& options, const OptConfig& config,
                        const PretrainInputs& inputs) {
  return ContentHash(StrCat(
      OptConfigJson(config, at::kFloat), options.epochs, " ", options.batch, " ", options.context,
      " ", options.learning_rate, " ", options.weight_decay, " ", options.beta1, " ", options.beta2,
      " ", options.clip_norm, " ", options.dropout, " ", options.offset_probability, " ",
      options.seed, " ", c10::toString(options.compute_dtype), " ", TokensHash(inputs.documents),
      " ", DistillationFingerprint(options.distill, inputs)));
}

class Trainer {
 public:
  Trainer(const PretrainOptions& options, const Backbone& initial, const PretrainInputs& inputs,
          const std::string& folder)
      : options_(options),
        model_(options, initial, inputs.targets),
        batches_(options, inputs.documents),
        state_path_(StrCat(folder, "/pretrain_state.safetensors")),
        fingerprint_(Fingerprint(options, initial.config, inputs)),
        steps_(options.epochs * batches_.steps_per_epoch()) {
    if (inputs.targets.defined()) distill_.emplace(options_, inputs, initial.config.vocab_size);
    first_moment_ = at::zeros_like(model_.value());
    second_moment_ = at::zeros_like(model_.value());
  }

  absl::Status Run(const std::function<void(const PretrainProgress&)>& progress) {
    if (options_.resume && PathExists(state_path_)) MIXREC_RETURN_IF_ERROR(Restore());
    const auto start = std::chrono::steady_clock::now();
    int64_t tokens = 0;
    while (step_ < steps_) {
      const PretrainBatch batch = batches_.At(step_);
      PretrainProgress report;
      report.learning_rate = tensor::CosineLearningRate(options_.learning_rate, step_, steps_);
      Step(batch, &report);
      tokens += batch.inputs.numel();
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      report.tokens_per_second = static_cast<double>(tokens) / seconds.count();
      report.step = step_;
      report.steps = steps_;
      if (progress) progress(report);
      MIXREC_RETURN_IF_ERROR(SaveWhenDue());
    }
    return absl::OkStatus();
  }

  const Backbone& backbone() const { return model_.backbone(); }
  void RemoveState() const {
    std::error_code ignored;
    std::filesystem::remove(state_path_, ignored);
  }

 private:
  void Step(const PretrainBatch& batch, PretrainProgress* report) {
    report->loss = model_.LossAndGradient(batch, step_);
    if (distill_) {
      std::tie(report->distill_loss, report->distill_cosine) =
          model_.AddDistillation(distill_->At(step_));
    }
    const at::NoGradGuard no_gradient;
    tensor::ClipGradientNorm(model_.gradient(), options_.clip_norm);
    tensor::AdamWOptions adamw;
    adamw.beta1 = options_.beta1;
    adamw.beta2 = options_.beta2;
    adamw.weight_decay = options_.weight_decay;
    ++step_;
    tensor::AdamWStep(adamw, report->learning_rate, step_, model_.gradient(), model_.value(),
                      first_moment_, second_moment_);
  }

  absl::Status SaveWhenDue() {
    const bool stop = StopRequested() && step_ < steps_;
    const bool due = options_.checkpoint_every > 0 && step_ % options_.checkpoint_every == 0;
    if (!stop && (!due || step_ == steps_)) return absl::OkStatus();
    MIXREC_RETURN_IF_ERROR(WriteSafetensors(
        state_path_,
        {{"value", model_.value()},
         {"first_moment", first_moment_},
         {"second_moment", second_moment_}},
        {{"format", kStateFormat}, {"fingerprint", fingerprint_}, {"step", StrCat(step_)}}));
    if (!stop) return absl::OkStatus();
    return StoppedError("pre-training stopped after step ", step_, " of ", steps_,
                        "; run the same command again to go on");
  }

  absl::Status Restore() {
    MIXREC_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(state_path_));
    const auto field = [&](const char* name) {
      const auto found = file.metadata().find(name);
      return found == file.metadata().end() ? std::string() : found->second;
    };
    if (field("format") != kStateFormat) {
      return DataError(state_path_, ": not a pre-training state of this version; remove it");
    }
    if (field("fingerprint") != fingerprint_) {
      return UsageError(
          state_path_,
          " belongs to a pre-training with other options or texts; run it with those, "
          "remove the file, or write to another folder");
    }
    const std::string step = field("step");
    if (step.empty() || step.size() > 12 ||
        step.find_first_not_of("0123456789") != std::string::npos) {
      return DataError(state_path_, ": bad step \"", step, "\"");
    }
    step_ = std::stoll(step);
    const std::pair<const char*, at::Tensor> targets[] = {{"value", model_.value()},
                                                          {"first_moment", first_moment_},
                                                          {"second_moment", second_moment_}};
    const at::NoGradGuard no_gradient;
    for (auto& [name, target] : targets) {
      MIXREC_ASSIGN_OR_RETURN(const at::Tensor saved, file.Get(name));
      if (saved.sizes() != target.sizes() || saved.scalar_type() != at::kFloat) {
        return DataError(state_path_, ": tensor \"", name, "\" has the wrong shape or dtype");
      }
      target.copy_(saved);
    }
    return absl::OkStatus();
  }

  PretrainOptions options_;
  PretrainModel model_;
  PretrainBatches batches_;
  std::optional<DistillBatches> distill_;
  std::string state_path_, fingerprint_;
  at::Tensor first_moment_, second_moment_;
  int64_t step_ = 0, steps_ = 0;
};

absl::Status Train(const PretrainOptions& options, const OptConfig& config,
                   const PretrainInputs& inputs, const std::string& folder,
                   const std::function<void(const PretrainProgress&)>& progress) {
  // Value, gradient and two moments, and the initial values.
  MIXREC_RETURN_IF_ERROR(CheckHostMemory("pre-training", 5 * BackboneBytes(config, at::kFloat)));
  MIXREC_ASSIGN_OR_RETURN(Backbone initial, RandomBackbone(config, options.seed, at::kFloat));
  if (inputs.word_start.defined()) {
    initial.word_embedding =
        at::where(inputs.word_start.isnan(), initial.word_embedding, inputs.word_start);
  }
  MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
  if (options.epochs == 0) return WriteBackbone(initial, folder, options.output_dtype);

  Trainer trainer(options, initial, inputs, folder);
  MIXREC_RETURN_IF_ERROR(trainer.Run(progress));
  MIXREC_RETURN_IF_ERROR(WriteBackbone(trainer.backbone(), folder, options.output_dtype));
  trainer.RemoveState();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<OptConfig> PretrainConfig(const PretrainOptions& options, int64_t vocab_size) {
  OptConfig config;
  config.vocab_size = vocab_size;
  config.hidden = config.word_width = options.hidden;
  config.layers = options.layers;
  config.heads = options.heads > 0 ? options.heads : std::max<int64_t>(1, options.hidden / 64);
  config.ffn = options.ffn > 0 ? options.ffn : 4 * options.hidden;
  config.max_positions = options.max_positions;
  if (config.hidden < 1 || config.hidden > 1 << 17) return UsageError("hidden is out of range");
  if (config.layers < 1 || config.layers > 1 << 12) return UsageError("layers is out of range");
  if (config.max_positions < 1 || config.max_positions > 1 << 24) {
    return UsageError("max_positions is out of range");
  }
  if (config.hidden % config.heads != 0) {
    return UsageError("heads = ", config.heads, " must divide hidden = ", config.hidden);
  }
  if (vocab_size < 3) return UsageError("a vocabulary of ", vocab_size, " tokens has no </s>");
  return config;
}

int64_t PretrainSteps(const PretrainOptions& options, int64_t tokens) {
  const int64_t context = std::min(options.context, std::max<int64_t>(tokens - 1, 0));
  const int64_t sequences = context == 0 ? 0 : (tokens - 1) / context;
  return options.epochs * ((sequences + options.batch - 1) / options.batch);
}

absl::Status Pretrain(const PretrainOptions& options, int64_t vocab_size,
                      const PretrainInputs& inputs, const std::string& folder,
                      const std::function<void(const PretrainProgress&)>& progress) {
  MIXREC_RETURN_IF_ERROR(CheckOptions(options));
  if (inputs.targets.defined()) {
    MIXREC_RETURN_IF_ERROR(CheckDistillation(options.distill, options.max_positions));
  }
  MIXREC_ASSIGN_OR_RETURN(const OptConfig config, PretrainConfig(options, vocab_size));
  CheckInputs(inputs, config);
  size_t tokens = 0;
  for (const auto& document : inputs.documents) {
    tokens += document.size();
    for (const int32_t id : document) CHECK(id >= 0 && id < vocab_size) << "token id " << id;
  }
  if (options.epochs > 0 && tokens == 0) return DataError("there is no text to pre-train on");
  try {
    return Train(options, config, inputs, folder, progress);
  } catch (const c10::OutOfMemoryError&) {
    return MemoryError("pre-training does not fit into the memory of ", options.device.str(),
                       "; use a smaller batch, context or hidden width");
  } catch (const std::bad_alloc&) {
    return MemoryError(
        "pre-training does not fit into memory; use a smaller batch or hidden width");
  }
}

}  // namespace mixrec::model
