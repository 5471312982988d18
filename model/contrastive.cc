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

at::Tensor ContrastiveLoss(const Stream& stream, const at::Tensor& states, double temperature,
                           double weight, at::Tensor d_states) {
  const int64_t queries = stream.cl_query.numel();
  const auto fp32 = states.options().dtype(at::kFloat);
  if (queries == 0) return at::zeros({}, fp32);
  // Rows of [query ; its candidates], normalised together.
  const at::Tensor reads = at::cat({stream.cl_query.unsqueeze(1), stream.cl_candidates}, 1);
  const Normalised rows = Normalise(states.index_select(0, reads.flatten())
                                        .to(at::kFloat)
                                        .view({queries, stream.negatives + 2, -1}));
  const at::Tensor query = rows.unit.narrow(1, 0, 1);
  const at::Tensor others = rows.unit.narrow(1, 1, stream.negatives + 1);
  const at::Tensor similarity = (query * others).sum(-1) / temperature;
  const at::Tensor log_probability = similarity.log_softmax(1);
  const at::Tensor loss = -(log_probability.select(1, 0) * stream.cl_weights).sum();

  at::Tensor d_similarity = log_probability.exp();
  d_similarity.select(1, 0).sub_(1.0);
  d_similarity.mul_((stream.cl_weights * (weight / temperature)).unsqueeze(1));
  const at::Tensor d_scaled = d_similarity.unsqueeze(-1);
  const at::Tensor d_unit =
      at::cat({(d_scaled * others).sum(1, /*keepdim=*/true), d_scaled * query}, 1);
  const at::Tensor d_rows = NormaliseBackward(d_unit, rows).flatten(0, 1);
  if (d_states.scalar_type() == at::kFloat) {
    d_states.index_add_(0, reads.flatten(), d_rows);
  } else {
    d_states.add_(at::zeros(states.sizes(), fp32).index_add_(0, reads.flatten(), d_rows));
  }
  return loss;
}

double ContrastiveLoss(const data::PackedBatch& batch, const States& states, double temperature,
                       double weight, States* d_states) {
  if (batch.cl_query.empty()) return 0.0;
  const at::Device device = states.sequence.device();
  const int64_t queries = static_cast<int64_t>(batch.cl_query.size());
  Stream stream;
  stream.negatives = batch.negatives_per_query;
  stream.cl_query = IndexTensor(batch.cl_query, device);
  stream.cl_candidates =
      at::cat({IndexTensor(batch.cl_positive, device).view({queries, 1}),
               IndexTensor(batch.cl_negative, device).view({queries, stream.negatives})},
              1)
          .add_(states.sequence.size(0));
  stream.cl_weights = FloatTensor(batch.cl_weights, device);
  const at::Tensor both = at::cat({d_states->sequence, d_states->alignment});
  const at::Tensor loss = ContrastiveLoss(stream, at::cat({states.sequence, states.alignment}),
                                          temperature, weight, both);
  d_states->sequence.copy_(both.narrow(0, 0, states.sequence.size(0)));
  d_states->alignment.copy_(both.narrow(0, states.sequence.size(0), states.alignment.size(0)));
  return loss.item<double>();
}

}  // namespace mixrec::model
