#include "bench/step_setup.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "data/step_share.h"
#include "model/backbone_create.h"
#include "worker/trainer.h"

namespace mixrec::bench {

absl::StatusOr<model::Backbone> MakeBackbone(const data::Catalogue& catalogue,
                                             const StepBenchOptions& options) {
  model::OptConfig config = TinyShape();
  if (options.shape != "tiny") {
    MIXREC_ASSIGN_OR_RETURN(config, model::PublishedShape(options.shape));
  }
  for (int32_t item = 0; item < catalogue.items(); ++item) {
    for (int32_t token : catalogue.item_tokens(item)) {
      config.vocab_size = std::max<int64_t>(config.vocab_size, token + 1);
    }
  }
  MIXREC_ASSIGN_OR_RETURN(model::Backbone backbone,
                          model::RandomBackbone(config, options.seed, options.dtype));
  if (!options.device.is_cpu()) model::MoveBackbone(options.device, &backbone);
  return backbone;
}

BatchStream::BatchStream(const data::Dataset& dataset, const data::Catalogue& catalogue,
                         const data::BatchOptions& batch_options, const StepBenchOptions& options)
    : dataset_(dataset),
      catalogue_(catalogue),
      hard_samples_(dataset),
      batch_options_(batch_options),
      seed_(options.seed),
      batch_(options.batch),
      group_(options.group),
      users_(data::TrainableUsers(dataset)) {
  if (empty()) return;
  current_ = Pack();
  next_ = Pack();
  StartPacking();
}

void BatchStream::Advance() {
  const auto start = std::chrono::steady_clock::now();
  current_ = std::move(next_);
  next_ = packing_.get();
  waited_seconds_ +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  StartPacking();
}

void BatchStream::StartPacking() {
  packing_ = std::async(std::launch::async, [this] { return Pack(); });
}

data::PackedBatch BatchStream::Pack() {
  if (order_.empty() || first_ + batch_ > static_cast<int64_t>(order_.size())) {
    order_ = data::EpochOrder(seed_, ++epoch_, absl::MakeConstSpan(users_));
    first_ = 0;
  }
  first_ += batch_;
  const auto users = absl::MakeConstSpan(order_).subspan(static_cast<size_t>(first_ - batch_),
                                                         static_cast<size_t>(batch_));
  if (group_ != nullptr) {
    return data::BuildSharedBatch(dataset_, catalogue_, hard_samples_, batch_options_, epoch_,
                                  users, {group_->rank(), group_->size()});
  }
  return data::BuildTrainingBatch(dataset_, catalogue_, hard_samples_, batch_options_, epoch_,
                                  users);
}

data::BatchOptions BatchOptionsOf(const model::OptConfig& config, const StepBenchOptions& options) {
  worker::TrainOptions train;
  train.seed = options.seed;
  train.negatives = options.negatives;
  return worker::MakeBatchOptions(train, options.model, config);
}

}  // namespace mixrec::bench
