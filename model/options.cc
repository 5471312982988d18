#include "model/options.h"

#include "model/architecture.h"

namespace mixrec::model {
namespace {

absl::Status CheckPositive(int64_t value, const char* name) {
  if (value > 0) return absl::OkStatus();
  return UsageError("--", name, "=", value, " must be positive");
}

absl::Status CheckWeight(double value, const char* name) {
  if (value >= 0.0 && value <= 1e6) return absl::OkStatus();
  return UsageError("--", name, "=", value, " must be between 0 and 1e6");
}

}  // namespace

absl::Status ValidateModelOptions(int64_t layers, ModelOptions* options) {
  MIXREC_RETURN_IF_ERROR(CheckPositive(options->bottleneck, "bottleneck"));
  MIXREC_RETURN_IF_ERROR(CheckPositive(options->cf_width(), "cf width"));
  for (int64_t width : options->cf_hidden) {
    MIXREC_RETURN_IF_ERROR(CheckPositive(width, "cf_hidden"));
  }
  MIXREC_RETURN_IF_ERROR(CheckWeight(options->lambda_align, "lambda_align"));
  MIXREC_RETURN_IF_ERROR(CheckWeight(options->lambda_cl, "lambda_cl"));
  MIXREC_RETURN_IF_ERROR(CheckWeight(options->lambda_cf, "lambda_cf"));
  if (options->temperature <= 0.0) {
    return UsageError("--tau=", options->temperature, " must be positive");
  }
  if (options->dropout < 0.0 || options->dropout >= 1.0) {
    return UsageError("--dropout=", options->dropout, " must be in [0, 1)");
  }
  if (options->parallel_scale <= 0.0) {
    return UsageError("--parallel_scale=", options->parallel_scale, " must be positive");
  }
  if (options->replace_every < 1 || options->replace_every > layers) {
    return UsageError("--replace_every=", options->replace_every, " must be between 1 and the ",
                      layers, " layers of the backbone");
  }
  if (!options->has_damoe()) {
    if (!options->architecture.empty()) {
      return UsageError("--architecture is for the modes mixrec and moe; mode ",
                        ModeName(options->mode), " has no choice of adapters");
    }
    return absl::OkStatus();
  }
  const int damoe = DamoeLayers(static_cast<int>(layers), options->replace_every);
  if (options->architecture.empty()) {
    options->architecture = Architecture::Serial(damoe).bits();
  }
  return Architecture::Parse(options->architecture, damoe).status();
}

absl::StatusOr<Mode> ParseMode(const std::string& text) {
  for (Mode mode : {Mode::kMixrec, Mode::kBase, Mode::kLlmrec, Mode::kMoe}) {
    if (text == ModeName(mode)) return mode;
  }
  return UsageError("--mode=", text, " is not one of mixrec, base, llmrec, moe");
}

absl::StatusOr<AdapterActivation> ParseAdapterActivation(const std::string& text) {
  if (text == "none") return AdapterActivation::kNone;
  if (text == "relu") return AdapterActivation::kRelu;
  if (text == "gelu") return AdapterActivation::kGelu;
  return UsageError("--adapter_act=", text, " is not one of none, relu, gelu");
}

absl::StatusOr<CfKind> ParseCfKind(const std::string& text) {
  if (text == "ncf") return CfKind::kNcf;
  if (text == "mf") return CfKind::kMf;
  return UsageError("--cf_model=", text, " is not one of ncf, mf");
}

absl::StatusOr<ParallelForm> ParseParallelForm(const std::string& text) {
  for (ParallelForm form : {ParallelForm::kLiteral, ParallelForm::kScaled}) {
    if (text == ParallelFormName(form)) return form;
  }
  return UsageError("--parallel_form=", text, " is not one of literal, scaled");
}

std::string ParallelFormName(ParallelForm form) {
  return form == ParallelForm::kLiteral ? "literal" : "scaled";
}

std::string ModeName(Mode mode) {
  switch (mode) {
    case Mode::kMixrec:
      return "mixrec";
    case Mode::kBase:
      return "base";
    case Mode::kLlmrec:
      return "llmrec";
    case Mode::kMoe:
      return "moe";
  }
  return "unknown";
}

}  // namespace mixrec::model
