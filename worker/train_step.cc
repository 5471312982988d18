#include "worker/train_step.h"

#include <chrono>
#include <cmath>

#include "tensor/from_host.h"
#include "tensor/softmax.h"

namespace mixrec::worker {
namespace {

class Stopwatch {
 public:
  // Seconds since the last call.
  double Lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

double WeightedSum(const at::Tensor& values, const at::Tensor& weights) {
  return (values.to(at::kDouble) * weights.to(at::kDouble)).sum().item<double>();
}

}  // namespace

TrainStep::TrainStep(const StepOptions& options, ModelState* state)
    : options_(options), state_(state) {
  first_moment_ = at::zeros_like(state->parameters().flat_value());
  second_moment_ = at::zeros_like(state->parameters().flat_value());
}

model::Losses TrainStep::Run(const data::PackedBatch& batch, int64_t step, double learning_rate) {
  const model::ModelOptions& options = state_->options();
  Stopwatch watch;
  state_->parameters().ZeroGradient();
  const model::CfRows rows = state_->PullRows(batch);
  times_.pull += watch.Lap();

  const model::States states =
      state_->network().Forward(batch, rows, /*training=*/true, {options_.dropout_seed, step});
  times_.forward += watch.Lap();

  model::Losses losses;
  model::States d_states = Softmax(batch, states, &losses);
  losses.contrastive =
      model::ContrastiveLoss(batch, states, options.temperature, options.lambda_cl, &d_states);
  times_.softmax += watch.Lap();

  model::CfRows d_rows = state_->network().Backward(d_states);
  losses.cf = state_->cf().BprLoss(batch, rows, options.lambda_cf, &d_rows);
  times_.backward += watch.Lap();

  losses.total = losses.sequence + options.lambda_align * losses.alignment +
                 options.lambda_cl * losses.contrastive + options.lambda_cf * losses.cf;
  if (std::isfinite(losses.total)) Update(batch, d_rows, step, learning_rate);
  times_.optimizer += watch.Lap();
  return losses;
}

// Both cross-entropies in one pass over the item projection (paper Sec. 2.2.2, 2.2.3). Returns the
// gradients of the states.
model::States TrainStep::Softmax(const data::PackedBatch& batch, const model::States& states,
                                 model::Losses* losses) {
  const double lambda = state_->options().lambda_align;
  const at::Device device = state_->device();
  const int64_t reads = states.sequence.size(0), documents = states.alignment.size(0);
  at::Tensor read = states.sequence, labels = tensor::IndexTensor(batch.targets, device);
  const at::Tensor sequence_weights = tensor::FloatTensor(batch.sequence_weights, device);
  const at::Tensor alignment_weights = tensor::FloatTensor(batch.alignment_weights, device);
  at::Tensor weights = sequence_weights;
  const bool aligns = lambda > 0 && documents > 0;
  if (aligns) {
    read = at::cat({read, states.alignment});
    labels = at::cat({labels, tensor::IndexTensor(batch.alignment_items, device)});
    weights = at::cat({weights, alignment_weights * lambda});
  }
  model::DenseParameters& parameters = state_->parameters();
  at::Tensor d_read;
  const at::Tensor entropies = tensor::SoftmaxCrossEntropy(
      read, parameters.compute("item_proj.weight"), parameters.value("item_proj.bias"), labels,
      weights, &d_read, parameters.gradient("item_proj.weight"),
      parameters.gradient("item_proj.bias"));
  losses->sequence = WeightedSum(entropies.narrow(0, 0, reads), sequence_weights);
  if (!aligns) return {d_read, at::zeros_like(states.alignment)};
  losses->alignment = WeightedSum(entropies.narrow(0, reads, documents), alignment_weights);
  return {d_read.narrow(0, 0, reads), d_read.narrow(0, reads, documents)};
}

void TrainStep::Update(const data::PackedBatch& batch, const model::CfRows& d_rows, int64_t step,
                       double learning_rate) {
  model::DenseParameters& parameters = state_->parameters();
  if (options_.clip_norm > 0) {
    tensor::ClipGradientNorm(parameters.flat_gradient(), options_.clip_norm);
  }
  tensor::AdamWStep(options_.optimizer, learning_rate, step + 1, parameters.flat_gradient(),
                    parameters.flat_value(), first_moment_, second_moment_);
  state_->PushRows(batch, d_rows, learning_rate);
  parameters.RefreshCompute();
}

model::NamedTensors TrainStep::OptimizerState() const {
  model::NamedTensors tensors;
  const auto append = [&](const std::string& prefix, const at::Tensor& flat) {
    for (const model::ParameterSpec& spec : state_->parameters().specs()) {
      const at::Tensor value = state_->parameters().value(spec.name);
      tensors.emplace_back(prefix + spec.name,  // moments lie as the flat values do
                           flat.as_strided(value.sizes(), value.strides(), value.storage_offset()));
    }
  };
  append("first_moment.", first_moment_);
  append("second_moment.", second_moment_);
  const model::NamedTensors tables = state_->TableOptimizerState();
  tensors.insert(tensors.end(), tables.begin(), tables.end());
  return tensors;
}

}  // namespace mixrec::worker
