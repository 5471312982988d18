#include "model/adapter.h"
#include "model/mixrec_model.h"
#include "tensor/from_host.h"

namespace mixrec::model {
namespace {

using tensor::FloatTensor;
using tensor::IndexTensor;

// NeuMF's score of pairs (He et al. 2017): predict([user_gmf * item_gmf ; MLP([user_mlp ;
// item_mlp])]).
class NcfScore {
 public:
  NcfScore(const ModelOptions& options, DenseParameters* parameters)
      : options_(options), parameters_(parameters) {}

  // user, item [B, E] -> scores [B].
  at::Tensor Forward(const at::Tensor& user, const at::Tensor& item) {
    user_ = user;
    item_ = item;
    activations_ = {at::cat({Mlp(user), Mlp(item)}, 1)};
    for (size_t i = 0; i < options_.cf_hidden.size(); ++i) {
      const std::string name = LayerName(i);
      activations_.push_back(at::addmm(parameters_->value(name + ".bias"), activations_.back(),
                                       parameters_->value(name + ".weight").t())
                                 .relu_());
    }
    features_ = at::cat({Gmf(user) * Gmf(item), activations_.back()}, 1);
    return at::addmm(parameters_->value("cf.predict.bias"), features_,
                     parameters_->value("cf.predict.weight").t())
        .squeeze(1);
  }

  // Adds weight gradients; returns the gradients of user and item.
  std::pair<at::Tensor, at::Tensor> Backward(const at::Tensor& d_scores) {
    const at::Tensor d_score = d_scores.unsqueeze(1);
    const at::Tensor d_features = LinearBackward("cf.predict", d_score, features_);
    const at::Tensor d_gmf = d_features.narrow(1, 0, options_.cf_gmf);
    at::Tensor d = d_features.narrow(1, options_.cf_gmf, d_features.size(1) - options_.cf_gmf);
    for (size_t i = options_.cf_hidden.size(); i-- > 0;) {
      d = LinearBackward(LayerName(i), at::threshold_backward(d, activations_[i + 1], 0),
                         activations_[i]);
    }
    const int64_t mlp = options_.cf_mlp;
    return {at::cat({d_gmf * Gmf(item_), d.narrow(1, 0, mlp)}, 1),
            at::cat({d_gmf * Gmf(user_), d.narrow(1, mlp, mlp)}, 1)};
  }

 private:
  static std::string LayerName(size_t i) { return "cf.mlp." + std::to_string(i); }
  at::Tensor Gmf(const at::Tensor& e) const { return e.narrow(1, 0, options_.cf_gmf); }
  at::Tensor Mlp(const at::Tensor& e) const {
    return e.narrow(1, options_.cf_gmf, options_.cf_mlp);
  }
  at::Tensor LinearBackward(const std::string& name, const at::Tensor& d, const at::Tensor& input) {
    AddOuterProduct(d, input, parameters_->gradient(name + ".weight"));
    parameters_->gradient(name + ".bias").add_(d.sum(0));
    return at::mm(d, parameters_->value(name + ".weight"));
  }

  const ModelOptions& options_;
  DenseParameters* parameters_;
  at::Tensor user_, item_, features_;
  std::vector<at::Tensor> activations_;
};

class MfScore {
 public:
  at::Tensor Forward(const at::Tensor& user, const at::Tensor& item) {
    user_ = user;
    item_ = item;
    return (user * item).sum(1);
  }
  std::pair<at::Tensor, at::Tensor> Backward(const at::Tensor& d_scores) const {
    const at::Tensor d = d_scores.unsqueeze(1);
    return {d * item_, d * user_};
  }

 private:
  at::Tensor user_, item_;
};

// -log sigmoid(s(u, positive) - s(u, negative)), summed with the pairs' weights (Rendle et al.
// 2009).
template <typename Score>
at::Tensor Bpr(Score score, const Stream& stream, const CfRows& rows, double weight,
               CfRows* d_rows) {
  const int64_t pairs = stream.bpr_user.numel();
  const at::Tensor item = at::cat({stream.bpr_positive, stream.bpr_negative});
  const at::Tensor both = at::cat({stream.bpr_user, stream.bpr_user});
  const at::Tensor scores =
      score.Forward(rows.user.index_select(0, both), rows.item.index_select(0, item));
  const at::Tensor difference = scores.narrow(0, 0, pairs) - scores.narrow(0, pairs, pairs);
  const at::Tensor loss = -(at::log_sigmoid(difference) * stream.bpr_weights).sum();
  const at::Tensor d = (difference.sigmoid() - 1.0) * stream.bpr_weights * weight;
  const auto [d_user, d_item] = score.Backward(at::cat({d, -d}));
  d_rows->user.index_add_(0, both, d_user);
  d_rows->item.index_add_(0, item, d_item);
  return loss;
}

}  // namespace

CfModel::CfModel(const ModelOptions& options, DenseParameters* parameters)
    : options_(options), parameters_(parameters) {}

at::Tensor CfModel::BprLoss(const Stream& stream, const CfRows& rows, double weight,
                            CfRows* d_rows) {
  if (stream.bpr_user.numel() == 0) return at::zeros({}, stream.sequence_weights.options());
  if (options_.cf == CfKind::kMf) return Bpr(MfScore(), stream, rows, weight, d_rows);
  return Bpr(NcfScore(options_, parameters_), stream, rows, weight, d_rows);
}

double CfModel::BprLoss(const data::PackedBatch& batch, const CfRows& rows, double weight,
                        CfRows* d_rows) {
  if (batch.bpr_user.empty()) return 0.0;
  const at::Device device = rows.user.device();
  Stream stream;
  stream.bpr_user = IndexTensor(batch.bpr_user, device);
  stream.bpr_positive = IndexTensor(batch.bpr_positive, device);
  stream.bpr_negative = IndexTensor(batch.bpr_negative, device);
  stream.bpr_weights = FloatTensor(batch.bpr_weights, device);
  return BprLoss(stream, rows, weight, d_rows).item<double>();
}

}  // namespace mixrec::model
