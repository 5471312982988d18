#include "model/mixrec_model.h"

#include <string>

#include "common/log.h"
#include "model/layer.h"
#include "model/stream.h"

namespace mixrec::model {
namespace {

constexpr double kInitialStddev = 0.02;
constexpr int64_t kEndOfText = 2;  // </s> of OPT's vocabulary

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

class MixrecModel::Impl {
 public:
  Impl(const Backbone& backbone, const ModelOptions& options, DenseParameters* parameters)
      : backbone_(backbone), options_(options), parameters_(parameters) {
    int damoe = 0;
    for (int k = 0; k < static_cast<int>(backbone.layers.size()); ++k) {
      const bool adapted = options.mode != Mode::kLlmrec && IsDamoeLayer(k, options.replace_every);
      const std::string name = "damoe." + std::to_string(damoe) + ".";
      gradients_.push_back(adapted ? parameters->RangeOf(name) : std::pair<int64_t, int64_t>());
      layers_.emplace_back(backbone.config, backbone.layers[k], options, adapted ? damoe++ : -1, k,
                           *parameters);
    }
  }

  void InitialiseSpecialTokens() {
    const at::Tensor& words = backbone_.word_embedding;
    const at::Tensor start = backbone_.sequence_start.defined()
                                 ? backbone_.sequence_start
                                 : words[std::min<int64_t>(kEndOfText, words.size(0) - 1)];
    parameters_->value("seq_token").copy_(start);
    parameters_->value("align_token").copy_(start);
    parameters_->RefreshCompute();
  }

  States Forward(const data::PackedBatch& batch, const CfRows& rows, bool training,
                 DropoutKey dropout) {
    const at::Tensor states = Forward(
        MakeStream(batch, backbone_.config.vocab_size, options_, dropout, training, device()), rows,
        training);
    return {states.narrow(0, 0, stream_.sequence_reads),
            states.narrow(0, stream_.sequence_reads, stream_.alignment_reads)};
  }

  at::Tensor Forward(const Stream& stream, const CfRows& rows, bool training) {
    stream_ = stream;
    MakeColumns(rows);
    saved_.clear();
    saved_.resize(training ? layers_.size() : 1);
    at::Tensor x = Embed();
    for (size_t k = 0; k < layers_.size(); ++k) {
      LayerSaved* saved = &saved_[training ? k : 0];
      if (!training) *saved = LayerSaved();
      x = layers_[k].Forward(stream_, columns_, x, /*trimmed=*/k + 1 == layers_.size(), saved);
    }
    if (!training) saved_.clear();
    return FinalNorm(x);
  }

  CfRows Backward(at::Tensor d, const Complete& complete = nullptr) {
    CHECK_EQ(saved_.size(), layers_.size()) << "Backward needs Forward(training = true) before it";
    if (backbone_.final_ln_weight.defined()) {
      const at::Tensor d_final = d;
      d = at::zeros_like(d_final);
      LayerNormBackward(d_final, final_input_, backbone_.final_ln_weight, final_mean_, final_rstd_,
                        d);
    }
    if (columns_.c.defined()) columns_.d_c = at::zeros_like(columns_.c);
    for (size_t k = layers_.size(); k-- > 0;) {
      d = layers_[k].Backward(stream_, &columns_, d, /*special_only=*/k == 0, saved_[k]);
      saved_[k] = LayerSaved();
      if (complete) complete(gradients_[k].first, gradients_[k].second);
    }
    saved_.clear();
    EmbedBackward(d);
    return ColumnsBackward();
  }

  void SkipBackward(const Complete& complete) const {
    for (size_t k = layers_.size(); k-- > 0;) complete(gradients_[k].first, gradients_[k].second);
  }

  void Fold() {
    for (Layer& layer : layers_) layer.Fold();
  }
  void Unfold() {
    for (Layer& layer : layers_) layer.Unfold();
  }

  Trace TraceForward(const data::PackedBatch& batch, const CfRows& rows) {
    stream_ =
        MakeStream(batch, backbone_.config.vocab_size, options_, {}, /*training=*/false, device());
    MakeColumns(rows);
    saved_.clear();
    Trace trace;
    trace.hidden.push_back(Embed());
    for (const Layer& layer : layers_) {
      LayerSaved saved;
      trace.hidden.push_back(
          layer.Forward(stream_, columns_, trace.hidden.back(), /*trimmed=*/false, &saved));
      if (layer.mixes()) trace.beta.push_back(saved.beta);
    }
    return trace;
  }

 private:
  at::Device device() const { return backbone_.word_embedding.device(); }
  at::ScalarType dtype() const { return backbone_.word_embedding.scalar_type(); }

  // x0 = E[token] + P[position + 2], special vectors standing in the word space (model.md D14).
  at::Tensor Embed() const {
    at::Tensor words = backbone_.word_embedding.index_select(0, stream_.words);
    const at::Tensor specials =
        at::stack({parameters_->compute("seq_token"), parameters_->compute("align_token")});
    words.index_copy_(0, stream_.special_rows, specials.index_select(0, stream_.special_kinds));
    if (backbone_.project_in.defined()) words = at::mm(words, backbone_.project_in.t());
    return words.add_(backbone_.position_embedding.index_select(0, stream_.position_rows));
  }

  // d [S, D]: gradient of x0 at the special rows.
  void EmbedBackward(const at::Tensor& d) {
    const at::Tensor d_words = backbone_.project_in.defined() ? at::mm(d, backbone_.project_in) : d;
    const at::Tensor full = d_words.to(at::kFloat);
    parameters_->gradient("seq_token").addmv_(full.t(), stream_.sequence_specials);
    parameters_->gradient("align_token").addmv_(full.t(), stream_.alignment_specials);
  }

  at::Tensor FinalNorm(const at::Tensor& x) {
    final_input_ = x;
    if (!backbone_.final_ln_weight.defined()) return x;
    at::Tensor y = at::empty_like(x);
    final_mean_ = at::empty({x.size(0)}, x.options().dtype(at::kFloat));
    final_rstd_ = at::empty_like(final_mean_);
    LayerNormForward(x, backbone_.final_ln_weight, backbone_.final_ln_bias, y, final_mean_,
                     final_rstd_);
    return y;
  }

  // c = W e + b of users, then of items (paper Sec. 2.3.2): the same at every layer.
  void MakeColumns(const CfRows& rows) {
    columns_ = Columns();
    std::vector<at::Tensor> parts;
    const auto project = [&](const char* name, const at::Tensor& e, int64_t count) {
      if (count == 0) return at::Tensor();
      CHECK(e.defined() && e.size(1) == options_.cf_width()) << "CF rows must be [., cf width]";
      const at::Tensor used = e.narrow(0, 0, count);
      parts.push_back(at::addmm(parameters_->value(std::string(name) + ".bias"), used,
                                parameters_->value(std::string(name) + ".weight").t()));
      return used;
    };
    user_e_ = project("proj_user", rows.user, stream_.user_columns);
    item_e_ = project("proj_item", rows.item, stream_.item_columns);
    user_shape_ = rows.user;
    item_shape_ = rows.item;
    if (!parts.empty()) columns_.c = at::cat(parts).to(dtype());
  }

  CfRows ColumnsBackward() {
    CfRows d_rows;
    if (user_shape_.defined()) d_rows.user = at::zeros_like(user_shape_);
    if (item_shape_.defined()) d_rows.item = at::zeros_like(item_shape_);
    if (!columns_.c.defined()) return d_rows;
    const at::Tensor d_c = columns_.d_c.to(at::kFloat);
    const auto project = [&](const std::string& name, const at::Tensor& e, int64_t first,
                             const at::Tensor& d_e) {
      if (!e.defined()) return;
      const at::Tensor d = d_c.narrow(0, first, e.size(0));
      AddOuterProduct(d, e, parameters_->gradient(name + ".weight"));
      parameters_->gradient(name + ".bias").add_(d.sum(0));
      d_e.narrow(0, 0, e.size(0)).add_(at::mm(d, parameters_->value(name + ".weight")));
    };
    project("proj_user", user_e_, 0, d_rows.user);
    project("proj_item", item_e_, stream_.user_columns, d_rows.item);
    return d_rows;
  }

  const Backbone& backbone_;
  const ModelOptions options_;
  DenseParameters* parameters_;
  std::vector<Layer> layers_;
  std::vector<std::pair<int64_t, int64_t>> gradients_;  // a layer's, in the flat gradient

  // State of the last Forward.
  Stream stream_;
  Columns columns_;
  at::Tensor user_e_, item_e_, user_shape_, item_shape_;
  std::vector<LayerSaved> saved_;
  at::Tensor final_input_, final_mean_, final_rstd_;
};

MixrecModel::MixrecModel(const Backbone& backbone, const ModelOptions& options,
                         DenseParameters* parameters)
    : impl_(std::make_unique<Impl>(backbone, options, parameters)),
      state_width_(backbone.config.hidden) {}
MixrecModel::~MixrecModel() = default;

void MixrecModel::InitialiseSpecialTokens() { impl_->InitialiseSpecialTokens(); }
int64_t MixrecModel::state_width() const { return state_width_; }
States MixrecModel::Forward(const data::PackedBatch& batch, const CfRows& rows, bool training,
                            DropoutKey dropout) {
  return impl_->Forward(batch, rows, training, dropout);
}
CfRows MixrecModel::Backward(const States& d_states, const Complete& complete) {
  return impl_->Backward(at::cat({d_states.sequence, d_states.alignment}), complete);
}
void MixrecModel::SkipBackward(const Complete& complete) const { impl_->SkipBackward(complete); }
at::Tensor MixrecModel::Forward(const Stream& stream, const CfRows& rows, bool training) {
  return impl_->Forward(stream, rows, training);
}
CfRows MixrecModel::Backward(const at::Tensor& d_states) { return impl_->Backward(d_states); }
void MixrecModel::Fold() { impl_->Fold(); }
void MixrecModel::Unfold() { impl_->Unfold(); }
MixrecModel::Trace MixrecModel::TraceForward(const data::PackedBatch& batch, const CfRows& rows) {
  return impl_->TraceForward(batch, rows);
}

}  // namespace mixrec::model
