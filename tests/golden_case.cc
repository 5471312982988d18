#include "golden_case.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/file.h"
#include "common/log.h"
#include "tensor/from_host.h"
#include "tensor/optimizer.h"
#include "tensor/softmax.h"
#include "tests/test_folder.h"

namespace mixrec {
namespace {

using nlohmann::json;

std::map<std::string, at::Tensor> LoadAll(const std::string& path) {
  std::map<std::string, at::Tensor> tensors;
  auto file = model::SafetensorsFile::Open(path);
  CHECK(file.ok()) << file.status();
  for (const std::string& name : file->names()) tensors[name] = *file->Get(name);
  return tensors;
}

// Position of `id` in `ids`, appended when it is new.
int32_t IndexOf(int32_t id, std::vector<int32_t>* ids) {
  const auto found = std::find(ids->begin(), ids->end(), id);
  if (found != ids->end()) return static_cast<int32_t>(found - ids->begin());
  ids->push_back(id);
  return static_cast<int32_t>(ids->size()) - 1;
}

std::vector<float> Even(size_t count) {
  return std::vector<float>(count, count == 0 ? 0.0f : 1.0f / static_cast<float>(count));
}

class BatchReader {
 public:
  BatchReader(const json& batch, const std::vector<int32_t>& prompt) : json_(batch) {
    if (!json_["align_docs"].empty()) AddPrompt(prompt);
    for (const json& document : json_["seq_docs"]) {
      AddDocument(document, data::DocumentKind::kSequence, 0);
    }
    int32_t index = 0;
    for (const json& document : json_["align_docs"]) {
      AddDocument(document, data::DocumentKind::kAlignment, static_cast<int32_t>(prompt.size()));
      CHECK_EQ(document["items"][0].get<int32_t>(), json_["align_items"][index++].get<int32_t>());
    }
    batch_.user_columns = static_cast<int32_t>(batch_.user_ids.size());
    batch_.item_columns = static_cast<int32_t>(batch_.item_ids.size());
    AddLosses();
  }
  data::PackedBatch Take() { return std::move(batch_); }

 private:
  int32_t Row() const { return static_cast<int32_t>(batch_.tokens.size()); }

  void AddPrompt(const std::vector<int32_t>& prompt) {
    batch_.prompt_tokens = static_cast<int32_t>(prompt.size());
    for (size_t i = 0; i < prompt.size(); ++i) {
      batch_.tokens.push_back(prompt[i]);
      batch_.positions.push_back(static_cast<int32_t>(i));
    }
    batch_.documents.push_back({0, Row(), data::DocumentKind::kPrompt, 0});
    batch_.groups.push_back({0, Row(), -1, -1});
  }

  // Rows of the document from its token `skip` on (the prompt stands at the head of the stream).
  void AddDocument(const json& document, data::DocumentKind kind, int32_t skip) {
    const bool alignment = kind == data::DocumentKind::kAlignment;
    const int32_t begin = Row();
    const std::vector<int32_t> tokens = document["tokens"], group = document["group"];
    const std::vector<int32_t> items = document["items"];
    int32_t user = -1;
    if (!alignment) user = IndexOf(document["user"].get<int32_t>(), &batch_.user_ids);
    for (size_t t = static_cast<size_t>(skip); t < tokens.size(); ++t) {
      if (t == static_cast<size_t>(skip) || group[t] != group[t - 1]) {
        const int32_t item = IndexOf(items[group[t]], &batch_.item_ids);
        batch_.groups.push_back({Row(), Row(), user, item});
      }
      batch_.tokens.push_back(tokens[t]);
      batch_.positions.push_back(static_cast<int32_t>(t));
      batch_.groups.back().end = Row();
    }
    const int32_t id = alignment ? items[0] : document["user"].get<int32_t>();
    batch_.documents.push_back({begin, Row(), kind, id});
    for (int32_t read : document["read"]) {
      (alignment ? batch_.alignment_rows : batch_.sequence_rows).push_back(begin + read - skip);
    }
  }

  void AddLosses() {
    batch_.targets = json_["targets"].get<std::vector<int32_t>>();
    batch_.alignment_items = json_["align_items"].get<std::vector<int32_t>>();
    batch_.cl_query = json_["cl_query"].get<std::vector<int32_t>>();
    batch_.cl_positive = json_["cl_pos"].get<std::vector<int32_t>>();
    for (const json& negatives : json_["cl_neg"]) {
      batch_.negatives_per_query = static_cast<int32_t>(negatives.size());
      for (int32_t item : negatives) batch_.cl_negative.push_back(item);
    }
    for (size_t i = 0; i < json_["bpr_user"].size(); ++i) {
      batch_.bpr_user.push_back(IndexOf(json_["bpr_user"][i], &batch_.user_ids));
      batch_.bpr_positive.push_back(IndexOf(json_["bpr_pos"][i], &batch_.item_ids));
      batch_.bpr_negative.push_back(IndexOf(json_["bpr_neg"][i], &batch_.item_ids));
    }
    batch_.sequence_weights = Even(batch_.targets.size());
    batch_.alignment_weights = Even(batch_.alignment_items.size());
    batch_.cl_weights = Even(batch_.cl_query.size());
    batch_.bpr_weights = Even(batch_.bpr_user.size());
  }

  const json& json_;
  data::PackedBatch batch_;
};

model::ModelOptions ReadOptions(const json& conf) {
  model::ModelOptions options;
  options.mode = *model::ParseMode(conf["mode"]);
  if (options.has_damoe()) options.architecture = conf["arch"];
  options.replace_every = conf["replace_every"];
  options.bottleneck = conf["bottleneck"];
  options.adapter_activation = *model::ParseAdapterActivation(conf["adapter_act"]);
  options.inject_user = conf["inject_user"];
  options.inject_item = conf["inject_item"];
  options.cf = *model::ParseCfKind(conf["cf_model"]);
  options.cf_gmf = conf["cf_gmf"];
  options.cf_mlp = conf["cf_mlp"];
  options.mf_width = options.cf_gmf + options.cf_mlp;
  options.cf_hidden = conf["cf_hidden"].get<std::vector<int64_t>>();
  options.lambda_align = conf["lambda_align"];
  options.lambda_cl = conf["lambda_cl"];
  options.lambda_cf = conf["lambda_cf"];
  options.temperature = conf["tau"];
  options.dropout = conf["dropout"];
  return options;
}

}  // namespace

std::string GoldenFolder() {
  const std::string folder = SharedFolder() + "/golden";
  return PathExists(folder) ? folder : "";
}

absl::StatusOr<GoldenCase> LoadGoldenCase(const std::string& folder, at::Device device,
                                          at::ScalarType dtype) {
  MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(folder + "/case.json"));
  const json parsed = json::parse(text);
  GoldenCase golden;
  golden.folder = folder;
  golden.options = ReadOptions(parsed["conf"]);
  golden.users = parsed["conf"]["n_users"];
  golden.items = parsed["conf"]["n_items"];
  MIXREC_ASSIGN_OR_RETURN(
      golden.backbone,
      model::LoadBackbone(folder + "/../" + parsed["backbone"].get<std::string>(), device, dtype));
  MIXREC_RETURN_IF_ERROR(
      model::ValidateModelOptions(golden.backbone.config.layers, &golden.options));
  golden.batch = BatchReader(parsed["batch"], parsed["prompt"]).Take();
  golden.trainable = LoadAll(folder + "/trainable.safetensors");
  golden.expected = LoadAll(folder + "/expected.safetensors");
  golden.losses = parsed["losses"].get<std::map<std::string, double>>();
  golden.losses_after = parsed["losses_after_adamw_step"].get<std::map<std::string, double>>();
  return golden;
}

GoldenModel::GoldenModel(const GoldenCase& golden, at::Device device, at::ScalarType dtype)
    : golden_(golden),
      device_(device),
      parameters_(model::TrainableSpecs(golden.backbone.config, golden.options, golden.items),
                  device, dtype),
      model_(golden.backbone, golden.options, &parameters_),
      user_ids_(tensor::IndexTensor(golden.batch.user_ids, device)),
      item_ids_(tensor::IndexTensor(golden.batch.item_ids, device)) {
  size_t tables = 0;
  for (const auto& [name, tensor] : golden.trainable) {
    if (parameters_.has(name)) {
      CHECK(parameters_.value(name).sizes() == tensor.sizes()) << name;
      parameters_.value(name).copy_(tensor);
    } else {
      CHECK_EQ(name.substr(0, 3), "cf.") << "golden tensor unknown to the model: " << name;
      ++tables;
    }
  }
  CHECK_EQ(parameters_.specs().size() + tables, golden.trainable.size());
  parameters_.RefreshCompute();
  if (!golden.options.has_cf()) return;
  const auto& t = golden.trainable;
  if (golden.options.cf == model::CfKind::kMf) {
    user_table_ = t.at("cf.user.weight").clone().to(device);
    item_table_ = t.at("cf.item.weight").clone().to(device);
  } else {
    user_table_ = at::cat({t.at("cf.user_gmf.weight"), t.at("cf.user_mlp.weight")}, 1).to(device);
    item_table_ = at::cat({t.at("cf.item_gmf.weight"), t.at("cf.item_mlp.weight")}, 1).to(device);
  }
}

model::CfRows GoldenModel::Rows() const {
  model::CfRows rows;
  if (!user_table_.defined()) return rows;
  rows.user = user_table_.index_select(0, user_ids_);
  rows.item = item_table_.index_select(0, item_ids_);
  return rows;
}

std::map<std::string, at::Tensor> GoldenModel::Tables(const at::Tensor& user,
                                                      const at::Tensor& item) const {
  if (!user.defined()) return {};
  if (golden_.options.cf == model::CfKind::kMf) {
    return {{"cf.user.weight", user}, {"cf.item.weight", item}};
  }
  const int64_t gmf = golden_.options.cf_gmf, mlp = golden_.options.cf_mlp;
  return {{"cf.user_gmf.weight", user.narrow(1, 0, gmf)},
          {"cf.user_mlp.weight", user.narrow(1, gmf, mlp)},
          {"cf.item_gmf.weight", item.narrow(1, 0, gmf)},
          {"cf.item_mlp.weight", item.narrow(1, gmf, mlp)}};
}

StepResult GoldenModel::Step(const LossWeights& weights) {
  const data::PackedBatch& batch = golden_.batch;
  StepResult result;
  parameters_.ZeroGradient();
  const model::CfRows rows = Rows();
  result.states = model_.Forward(batch, rows, /*training=*/true);
  const at::Tensor states = at::cat({result.states.sequence, result.states.alignment});
  const at::Tensor labels = at::cat({tensor::IndexTensor(batch.targets, device_),
                                     tensor::IndexTensor(batch.alignment_items, device_)});
  const auto floats = [&](const std::vector<float>& v) { return tensor::FloatTensor(v, device_); };
  const at::Tensor w_seq = floats(batch.sequence_weights),
                   w_align = floats(batch.alignment_weights);
  const at::Tensor item_weight = parameters_.compute("item_proj.weight");
  const at::Tensor item_bias = parameters_.value("item_proj.bias");
  at::Tensor d_states;
  const at::Tensor ce = tensor::SoftmaxCrossEntropy(
      states, item_weight, item_bias, labels,
      at::cat({w_seq * weights.sequence, w_align * weights.alignment}), &d_states,
      parameters_.gradient("item_proj.weight"), parameters_.gradient("item_proj.bias"));
  const int64_t reads = result.states.sequence.size(0);
  result.losses.sequence = (ce.narrow(0, 0, reads) * w_seq).sum().item<double>();
  result.losses.alignment = (ce.narrow(0, reads, w_align.size(0)) * w_align).sum().item<double>();
  model::States d{d_states.narrow(0, 0, reads), d_states.narrow(0, reads, w_align.size(0))};
  result.losses.contrastive = model::ContrastiveLoss(
      batch, result.states, golden_.options.temperature, weights.contrastive, &d);
  d_rows_ = model_.Backward(d);
  if (golden_.options.has_cf()) {
    result.losses.cf =
        model::CfModel(golden_.options, &parameters_).BprLoss(batch, rows, weights.cf, &d_rows_);
  }
  const model::Losses& l = result.losses;
  result.losses.total = l.sequence * weights.sequence + l.alignment * weights.alignment +
                        l.contrastive * weights.contrastive + l.cf * weights.cf;
  const at::Tensor logits = tensor::ItemScores(states, item_weight, item_bias);
  result.sequence_logits = logits.narrow(0, 0, reads);
  result.alignment_logits = logits.narrow(0, reads, logits.size(0) - reads);
  for (const auto& spec : parameters_.specs()) {
    result.gradients[spec.name] = parameters_.gradient(spec.name).clone();
  }
  if (d_rows_.user.defined()) {
    const at::Tensor user = at::zeros_like(user_table_).index_copy_(0, user_ids_, d_rows_.user);
    const at::Tensor item = at::zeros_like(item_table_).index_copy_(0, item_ids_, d_rows_.item);
    for (const auto& [name, tensor] : Tables(user, item)) result.gradients[name] = tensor;
  }
  return result;
}

model::MixrecModel::Trace GoldenModel::Trace() {
  return model_.TraceForward(golden_.batch, Rows());
}

void GoldenModel::AdamWStep() {
  const at::Tensor value = parameters_.flat_value();
  tensor::AdamWStep({}, 1e-2, 1, parameters_.flat_gradient(), value, at::zeros_like(value),
                    at::zeros_like(value));
  parameters_.RefreshCompute();
  if (!user_table_.defined()) return;
  const auto step = [](const at::Tensor& ids, const at::Tensor& gradient, const at::Tensor& table) {
    tensor::RowAdamWStep({}, 1e-2, ids, gradient, table, at::zeros_like(table),
                         at::zeros_like(table),
                         at::zeros({table.size(0)}, table.options().dtype(at::kInt)));
  };
  step(user_ids_, d_rows_.user, user_table_);
  step(item_ids_, d_rows_.item, item_table_);
}

std::map<std::string, at::Tensor> GoldenModel::Values() const {
  std::map<std::string, at::Tensor> values = Tables(user_table_, item_table_);
  for (const auto& spec : parameters_.specs()) values[spec.name] = parameters_.value(spec.name);
  return values;
}

}  // namespace mixrec
