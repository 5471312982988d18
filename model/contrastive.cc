#include "model/mixrec_model.h"
#include "tensor/from_host.h"

namespace mixrec::model {
namespace {

using tensor::FloatTensor;
using tensor::IndexTensor;

struct Normalised {
  at::Tensor unit;    // rows divided by their norm
  at::Tensor length;  // [.., 1]
};

Normalised Normalise(const at::Tensor& rows) {
  const at::Tensor length = rows.norm(2, -1, /*keepdim=*/true).clamp_min(1e-8);
  return {rows / length, length};
}

// Gradient through x / |x|.
at::Tensor NormaliseBackward(const at::Tensor& d_unit, const Normalised& x) {
  return (d_unit - x.unit * (d_unit * x.unit).sum(-1, true)) / x.length;
}

}  // namespace

double ContrastiveLoss(const data::PackedBatch& batch, const States& states, double temperature,
                       double weight, States* d_states) {
  const int64_t queries = static_cast<int64_t>(batch.cl_query.size());
  if (queries == 0) return 0.0;
  const at::Device device = states.sequence.device();
  const int64_t negatives = batch.negatives_per_query;
  const at::Tensor query = IndexTensor(batch.cl_query, device);
  // Column 0 is the positive.
  const at::Tensor candidates =
      at::cat({IndexTensor(batch.cl_positive, device).view({queries, 1}),
               IndexTensor(batch.cl_negative, device).view({queries, negatives})},
              1);
  const at::Tensor loss_weights = FloatTensor(batch.cl_weights, device);
  const Normalised h = Normalise(states.sequence.index_select(0, query).to(at::kFloat));
  const Normalised other = Normalise(states.alignment.index_select(0, candidates.flatten())
                                         .to(at::kFloat)
                                         .view({queries, negatives + 1, -1}));
  const at::Tensor similarity = (h.unit.unsqueeze(1) * other.unit).sum(-1) / temperature;
  const at::Tensor log_probability = similarity.log_softmax(1);
  const double loss = -(log_probability.select(1, 0) * loss_weights).sum().item<double>();

  at::Tensor d_similarity = log_probability.exp();
  d_similarity.select(1, 0).sub_(1.0);
  d_similarity.mul_(loss_weights.unsqueeze(1)).mul_(weight / temperature);
  const at::Tensor d_scaled = d_similarity.unsqueeze(-1);
  const at::Tensor d_h = NormaliseBackward((d_scaled * other.unit).sum(1), h);
  const at::Tensor d_other = NormaliseBackward(d_scaled * h.unit.unsqueeze(1), other);
  const auto add = [](const at::Tensor& rows, const at::Tensor& d, at::Tensor to) {
    at::Tensor sum = at::zeros(to.sizes(), d.options());
    sum.index_add_(0, rows, d);
    to.add_(sum);
  };
  add(query, d_h, d_states->sequence);
  add(candidates.flatten(), d_other.flatten(0, 1), d_states->alignment);
  return loss;
}

}  // namespace mixrec::model
