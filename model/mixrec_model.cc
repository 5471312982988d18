#include "model/mixrec_model.h"

#include <memory>
#include <string>
#include <utility>

#include "common/log.h"
#include "model/layer.h"
#include "model/streams.h"
#include "tensor/branches.h"
#include "tensor/side_stream.h"

namespace mixrec::model {
namespace {

constexpr int64_t kEndOfText = 2;  // </s> of OPT's vocabulary

}  // namespace

class MixrecModel::Impl {
 public:
  Impl(const Backbone& backbone, const std::vector<Member>& members)
      : backbone_(backbone),
        members_(members),
        branches_(backbone.word_embedding.device(), static_cast<int64_t>(members.size())) {
    const ModelOptions& options = members_.at(0).options;
    std::vector<LayerModel> models;
    for (const Member& member : members_) {
      CHECK_EQ(member.options.replace_every, options.replace_every);
      // What has others beside it needs nothing on the side.
      sides_.push_back(std::make_unique<tensor::SideStream>(
          members_.size() == 1 ? backbone.word_embedding.device() : at::Device(at::kCPU)));
      models.push_back({&member.options, member.parameters, sides_.back().get()});
    }
    int damoe = 0;
    for (int k = 0; k < static_cast<int>(backbone.layers.size()); ++k) {
      const bool adapted = options.mode != Mode::kLlmrec && IsDamoeLayer(k, options.replace_every);
      const std::string name = "damoe." + std::to_string(damoe) + ".";
      gradients_.push_back(adapted ? members_[0].parameters->RangeOf(name)
                                   : std::pair<int64_t, int64_t>());
      layers_.emplace_back(backbone.config, backbone.layers[k], models, adapted ? damoe++ : -1, k);
    }
  }

  void InitialiseSpecialTokens() {
    const at::Tensor& words = backbone_.word_embedding;
    const at::Tensor start = backbone_.sequence_start.defined()
                                 ? backbone_.sequence_start
                                 : words[std::min<int64_t>(kEndOfText, words.size(0) - 1)];
    for (const Member& member : members_) {
      member.parameters->value("seq_token").copy_(start);
      member.parameters->value("align_token").copy_(start);
      member.parameters->RefreshCompute();
    }
  }

  Stream StreamOf(const data::PackedBatch& batch, DropoutKey dropout, bool training) const {
    return MakeStream(batch, backbone_.config.vocab_size, members_[0].options, dropout, training,
                      backbone_.word_embedding.device());
  }

  at::Tensor Forward(std::vector<Stream> streams, const std::vector<CfRows>& rows, bool training) {
    streams_ = Streams(std::move(streams), &branches_);
    MakeColumns(rows);
    saved_.clear();
    saved_.resize(training ? layers_.size() : 2);
    at::Tensor x = Embed();
    for (size_t k = 0; k < layers_.size(); ++k) {
      LayerSaved* saved = &saved_[training ? k : k % 2];
      Layer::Next next;
      if (k + 1 < layers_.size()) next = {&layers_[k + 1], &saved_[training ? k + 1 : (k + 1) % 2]};
      x = layers_[k].Forward(streams_, columns_, x, /*trimmed=*/k + 1 == layers_.size(), saved,
                             next);
      if (!training) *saved = LayerSaved();
    }
    if (!training) saved_.clear();
    return FinalNorm(x);
  }

  std::vector<CfRows> Backward(at::Tensor d, const Complete& complete = nullptr) {
    CHECK_EQ(saved_.size(), layers_.size()) << "Backward needs Forward(training = true) before it";
    if (backbone_.final_ln_weight.defined()) {
      const at::Tensor d_final = d;
      d = at::zeros_like(d_final);
      LayerNormBackward(d_final, final_input_, backbone_.final_ln_weight, final_mean_, final_rstd_,
                        d);
    }
    if (columns_.c.defined()) columns_.d_c = at::zeros_like(columns_.c);
    for (size_t k = layers_.size(); k-- > 0;) {
      d = layers_[k].Backward(streams_, &columns_, d, /*special_only=*/k == 0, saved_[k]);
      saved_[k] = LayerSaved();
      if (complete) complete(gradients_[k].first, gradients_[k].second);
    }
    saved_.clear();
    EmbedBackward(d);
    std::vector<CfRows> d_rows(members_.size());
    streams_.Each([&](int64_t i) { d_rows[static_cast<size_t>(i)] = ColumnsBackward(i); });
    return d_rows;
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
    streams_ = Streams({StreamOf(batch, {}, /*training=*/false)}, &branches_);
    MakeColumns({rows});
    saved_.clear();
    Trace trace;
    trace.hidden.push_back(Embed());
    for (const Layer& layer : layers_) {
      LayerSaved saved;
      trace.hidden.push_back(
          layer.Forward(streams_, columns_, trace.hidden.back(), /*trimmed=*/false, &saved, {}));
      if (layer.mixes()) trace.beta.push_back(saved.own[0].beta);
    }
    return trace;
  }

 private:
  at::ScalarType dtype() const { return backbone_.word_embedding.scalar_type(); }
  const ModelOptions& options(int64_t i) const { return members_[static_cast<size_t>(i)].options; }
  DenseParameters& parameters(int64_t i) const {
    return *members_[static_cast<size_t>(i)].parameters;
  }

  // x0 = E[token] + P[position + 2], special vectors standing in the word space (model.md D14).
  at::Tensor Embed() const {
    std::vector<at::Tensor> x(members_.size());
    streams_.Each([&](int64_t i) { x[static_cast<size_t>(i)] = Embed(i); });
    return x.size() == 1 ? x[0] : at::cat(x);
  }

  at::Tensor Embed(int64_t i) const {
    const Stream& stream = streams_.of(i);
    at::Tensor words = backbone_.word_embedding.index_select(0, stream.words);
    const at::Tensor specials =
        at::stack({parameters(i).compute("seq_token"), parameters(i).compute("align_token")});
    words.index_copy_(0, stream.special_rows, specials.index_select(0, stream.special_kinds));
    if (backbone_.project_in.defined()) words = at::mm(words, backbone_.project_in.t());
    return words.add_(backbone_.position_embedding.index_select(0, stream.position_rows));
  }

  // d [S, D]: gradient of x0 at the special rows.
  void EmbedBackward(const at::Tensor& d) {
    const at::Tensor d_words = backbone_.project_in.defined() ? at::mm(d, backbone_.project_in) : d;
    streams_.Each([&](int64_t i) {
      const Stream& stream = streams_.of(i);
      const at::Tensor part = streams_.SpecialPart(i, d_words).to(at::kFloat);
      parameters(i).gradient("seq_token").addmv_(part.t(), stream.sequence_specials);
      parameters(i).gradient("align_token").addmv_(part.t(), stream.alignment_specials);
    });
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
  void MakeColumns(const std::vector<CfRows>& rows) {
    CHECK_EQ(rows.size(), members_.size());
    rows_ = rows;
    columns_ = Columns();
    std::vector<std::vector<at::Tensor>> parts(rows.size());
    streams_.Each([&](int64_t i) {
      const Stream& stream = streams_.of(i);
      const CfRows& own = rows[static_cast<size_t>(i)];
      ProjectColumns(i, "proj_user", own.user, stream.user_columns, &parts[static_cast<size_t>(i)]);
      ProjectColumns(i, "proj_item", own.item, stream.item_columns, &parts[static_cast<size_t>(i)]);
    });
    std::vector<at::Tensor> all;
    for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
    if (!all.empty()) columns_.c = at::cat(all).to(dtype());
  }

  void ProjectColumns(int64_t i, const std::string& name, const at::Tensor& e, int64_t count,
                      std::vector<at::Tensor>* parts) const {
    if (count == 0) return;
    CHECK(e.defined() && e.size(1) == options(i).cf_width()) << "CF rows must be [., cf width]";
    parts->push_back(at::addmm(parameters(i).value(name + ".bias"), e.narrow(0, 0, count),
                               parameters(i).value(name + ".weight").t()));
  }

  CfRows ColumnsBackward(int64_t i) {
    const CfRows& rows = rows_[static_cast<size_t>(i)];
    CfRows d_rows;
    if (rows.user.defined()) d_rows.user = at::zeros_like(rows.user);
    if (rows.item.defined()) d_rows.item = at::zeros_like(rows.item);
    if (!columns_.c.defined()) return d_rows;
    const at::Tensor d_c = streams_.ColumnPart(i, columns_.d_c).to(at::kFloat);
    const auto project = [&](const std::string& name, const at::Tensor& e, int64_t first,
                             int64_t count, const at::Tensor& d_e) {
      if (count == 0) return;
      const at::Tensor d = d_c.narrow(0, first, count);
      AddOuterProduct(d, e.narrow(0, 0, count), parameters(i).gradient(name + ".weight"));
      parameters(i).gradient(name + ".bias").add_(d.sum(0));
      d_e.narrow(0, 0, count).add_(at::mm(d, parameters(i).value(name + ".weight")));
    };
    const Stream& stream = streams_.of(i);
    project("proj_user", rows.user, 0, stream.user_columns, d_rows.user);
    project("proj_item", rows.item, stream.user_columns, stream.item_columns, d_rows.item);
    return d_rows;
  }

  const Backbone& backbone_;
  const std::vector<Member> members_;
  const tensor::Branches branches_;
  std::vector<std::unique_ptr<tensor::SideStream>> sides_;  // of the members
  std::vector<Layer> layers_;
  std::vector<std::pair<int64_t, int64_t>> gradients_;  // a layer's, in the flat gradient

  // State of the last Forward.
  Streams streams_;
  Columns columns_;
  std::vector<CfRows> rows_;
  std::vector<LayerSaved> saved_;
  at::Tensor final_input_, final_mean_, final_rstd_;
};

MixrecModel::MixrecModel(const Backbone& backbone, const ModelOptions& options,
                         DenseParameters* parameters)
    : MixrecModel(backbone, {{options, parameters}}) {}
MixrecModel::MixrecModel(const Backbone& backbone, const std::vector<Member>& members)
    : impl_(std::make_unique<Impl>(backbone, members)), state_width_(backbone.config.hidden) {}
MixrecModel::~MixrecModel() = default;

void MixrecModel::InitialiseSpecialTokens() { impl_->InitialiseSpecialTokens(); }
int64_t MixrecModel::state_width() const { return state_width_; }
States MixrecModel::Forward(const data::PackedBatch& batch, const CfRows& rows, bool training,
                            DropoutKey dropout) {
  const Stream stream = impl_->StreamOf(batch, dropout, training);
  const at::Tensor states = Forward(stream, rows, training);
  return {states.narrow(0, 0, stream.sequence_reads),
          states.narrow(0, stream.sequence_reads, stream.alignment_reads)};
}
CfRows MixrecModel::Backward(const States& d_states, const Complete& complete) {
  return impl_->Backward(at::cat({d_states.sequence, d_states.alignment}), complete).at(0);
}
void MixrecModel::SkipBackward(const Complete& complete) const { impl_->SkipBackward(complete); }
at::Tensor MixrecModel::Forward(const Stream& stream, const CfRows& rows, bool training) {
  return impl_->Forward({stream}, {rows}, training);
}
CfRows MixrecModel::Backward(const at::Tensor& d_states, const Complete& complete) {
  return impl_->Backward(d_states, complete).at(0);
}
at::Tensor MixrecModel::Forward(const std::vector<Stream>& streams, const std::vector<CfRows>& rows,
                                bool training) {
  return impl_->Forward(streams, rows, training);
}
std::vector<CfRows> MixrecModel::BackwardOfAll(const at::Tensor& d_states) {
  return impl_->Backward(d_states);
}
void MixrecModel::Fold() { impl_->Fold(); }
void MixrecModel::Unfold() { impl_->Unfold(); }
MixrecModel::Trace MixrecModel::TraceForward(const data::PackedBatch& batch, const CfRows& rows) {
  return impl_->TraceForward(batch, rows);
}

}  // namespace mixrec::model
