// Which tensors of a model are trained, how they are called and how they start.
#include <string>

#include "model/architecture.h"
#include "model/mixrec_model.h"

namespace mixrec::model {
namespace {

constexpr double kInitialStddev = 0.02;

void AddLinear(std::vector<ParameterSpec>* specs, const std::string& name, int64_t out, int64_t in,
               double stddev) {
  specs->push_back({name + ".weight", {out, in}, stddev});
  specs->push_back({name + ".bias", {out}, 0.0});
}

// W1 random, W2 zero: a serial adapter starts as the identity.
void AddAdapter(std::vector<ParameterSpec>* specs, const std::string& name, int64_t hidden,
                int64_t bottleneck) {
  AddLinear(specs, name + ".down", bottleneck, hidden, kInitialStddev);
  AddLinear(specs, name + ".up", hidden, bottleneck, 0.0);
}

void AddLayer(std::vector<ParameterSpec>* specs, int damoe, const OptConfig& config,
              const ModelOptions& options) {
  const std::string name = "damoe." + std::to_string(damoe) + ".";
  if (options.mode == Mode::kBase) {
    AddAdapter(specs, name + "attn", config.hidden, options.bottleneck);
    AddAdapter(specs, name + "rec", config.hidden, options.bottleneck);
    return;
  }
  for (const char* site : {"causal", "context", "rec"}) {
    AddAdapter(specs, name + site, config.hidden, options.bottleneck);
  }
  AddLinear(specs, name + "gate", 2, 2 * config.hidden, 0.0);
}

void AddCf(std::vector<ParameterSpec>* specs, const OptConfig& config,
           const ModelOptions& options) {
  if (!options.cf_frozen) {
    const std::vector<ParameterSpec> cf = CfSpecs(options);
    specs->insert(specs->end(), cf.begin(), cf.end());
  }
  for (const char* projection : {"proj_user", "proj_item"}) {
    AddLinear(specs, projection, config.hidden, options.cf_width(), kInitialStddev);
  }
}

}  // namespace

std::vector<ParameterSpec> CfSpecs(const ModelOptions& options) {
  std::vector<ParameterSpec> specs;
  if (options.cf != CfKind::kNcf) return specs;
  int64_t in = 2 * options.cf_mlp;
  for (size_t i = 0; i < options.cf_hidden.size(); ++i) {
    AddLinear(&specs, "cf.mlp." + std::to_string(i), options.cf_hidden[i], in, 0.1);
    in = options.cf_hidden[i];
  }
  AddLinear(&specs, "cf.predict", 1, options.cf_gmf + in, 0.1);
  return specs;
}

std::vector<ParameterSpec> TrainableSpecs(const OptConfig& config, const ModelOptions& options,
                                          int64_t items) {
  std::vector<ParameterSpec> specs;
  specs.push_back({"seq_token", {config.word_width}, kInitialStddev});
  specs.push_back({"align_token", {config.word_width}, kInitialStddev});
  if (options.mode != Mode::kLlmrec) {
    const int layers = DamoeLayers(static_cast<int>(config.layers), options.replace_every);
    for (int layer = 0; layer < layers; ++layer) AddLayer(&specs, layer, config, options);
  }
  AddLinear(&specs, "item_proj", items, config.hidden, kInitialStddev);
  if (options.has_cf()) AddCf(&specs, config, options);
  return specs;
}

}  // namespace mixrec::model
