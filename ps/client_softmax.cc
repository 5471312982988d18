// Client's softmax over a whole table: every shard gets every state.
#include <algorithm>

#include "common/log.h"
#include "ps/client.h"
#include "ps/client_states.h"
#include "ps/combine.h"
#include "ps/gather.h"

namespace mixrec::ps {

absl::StatusOr<at::Tensor> TakeTensor(const net::Buffer& frame, at::ScalarType type,
                                      const std::vector<int64_t>& sizes) {
  int64_t elements = 1;
  for (const int64_t size : sizes) elements *= size;
  if (frame.size() != static_cast<size_t>(elements) * 4) {
    return FailureError("a shard's answer has ", frame.size(), " bytes instead of ", elements * 4);
  }
  return TensorOf(frame, type, sizes);
}

void CheckStates(const at::Tensor& states) {
  CHECK(states.dim() == 2 && states.is_contiguous() && states.is_cpu() &&
        states.scalar_type() == at::kFloat);
}

namespace {

absl::StatusOr<ShardSoftmax> TakePartial(const absl::StatusOr<Wire>& answer, int64_t states,
                                         int64_t width) {
  if (!answer.ok()) return answer.status();
  const auto* partial = std::get_if<SoftmaxPartial>(&answer->body);
  if (partial == nullptr) return FailureError("a shard answered a softmax with something else");
  ShardSoftmax result;
  const auto owned = static_cast<int64_t>(partial->label_rows.size() / sizeof(float)) /
                     std::max<int64_t>(1, width);
  const auto take = [](const net::Buffer& frame, std::vector<int64_t> sizes) {
    return TakeTensor(frame, at::kFloat, sizes);
  };
  MIXREC_ASSIGN_OR_RETURN(result.maximum, take(partial->maximum, {states}));
  MIXREC_ASSIGN_OR_RETURN(result.sum, take(partial->sum, {states}));
  MIXREC_ASSIGN_OR_RETURN(result.label_logits, take(partial->label_logits, {states}));
  MIXREC_ASSIGN_OR_RETURN(result.label_rows, take(partial->label_rows, {owned, width}));
  MIXREC_ASSIGN_OR_RETURN(result.numerators, take(partial->numerators, {states, width}));
  return result;
}

// A softmax under way: the shards' answers by block, combined as a block is complete.
class SoftmaxCall {
 public:
  SoftmaxCall(int64_t states, int64_t width, size_t blocks, int shards)
      : width_(width),
        result_{at::empty({states}, at::kFloat), at::empty({states}, at::kFloat),
                at::empty({states, width}, at::kFloat)},
        partials_(blocks, std::vector<ShardSoftmax>(static_cast<size_t>(shards))),
        left_(blocks, shards) {}

  const SoftmaxResult& result() const { return result_; }

  absl::Status Add(const StateBlock& block, int slot, const absl::StatusOr<Wire>& answer) {
    std::vector<ShardSoftmax>& partials = partials_[static_cast<size_t>(block.part)];
    MIXREC_ASSIGN_OR_RETURN(partials[static_cast<size_t>(slot)],
                            TakePartial(answer, block.count, width_));
    if (--left_[static_cast<size_t>(block.part)] > 0) return absl::OkStatus();
    MIXREC_ASSIGN_OR_RETURN(const SoftmaxResult combined, CombineSoftmax(partials));
    partials.clear();
    result_.entropies.narrow(0, block.first, block.count).copy_(combined.entropies);
    result_.log_sum_exp.narrow(0, block.first, block.count).copy_(combined.log_sum_exp);
    result_.gradient.narrow(0, block.first, block.count).copy_(combined.gradient);
    return absl::OkStatus();
  }

 private:
  int64_t width_;
  SoftmaxResult result_;
  std::vector<std::vector<ShardSoftmax>> partials_;  // by block and shard
  std::vector<int> left_;                            // answers, by block
};

}  // namespace

void Client::Softmax(const std::string& table, int64_t step, at::Tensor states,
                     std::vector<int32_t> labels, const Sampling& sampling, DoneSoftmax done) {
  CheckStates(states);
  const int64_t count = states.size(0), width = states.size(1);
  CHECK_EQ(count, static_cast<int64_t>(labels.size()));
  const std::vector<StateBlock> blocks = CutStates(count, width, options_.message_bytes);
  auto call = std::make_shared<SoftmaxCall>(count, width, blocks.size(), shards());
  if (count == 0) return done(call->result());
  auto gather = std::make_shared<Gather>(
      blocks.size() * static_cast<size_t>(shards()), [call, done](const absl::Status& status) {
        done(status.ok() ? absl::StatusOr<SoftmaxResult>(call->result()) : status);
      });
  const std::string what = StrCat("softmax over ", table, ", step ", step);
  for (const StateBlock& block : blocks) {
    const SoftmaxForward request{KeyOf(table),
                                 step,
                                 block.part,
                                 block.parts,
                                 sampling.count,
                                 sampling.log_uniform,
                                 width,
                                 FrameOf(states, block),
                                 FrameOf(labels, block),
                                 FirstStep(step)};
    for (int slot = 0; slot < shards(); ++slot) {
      caller_.Call(slot, request, request.states.size(), what,
                   [call, gather, block, slot](const absl::StatusOr<Wire>& answer) {
                     gather->Add(call->Add(block, slot, answer));
                   });
    }
  }
}

void Client::SoftmaxBackward(const std::string& table, int64_t step, double learning_rate,
                             at::Tensor states, std::vector<int32_t> labels,
                             const Sampling& sampling, at::Tensor log_sum_exp, at::Tensor weights,
                             Done done) {
  CheckStates(states);
  const int64_t count = states.size(0), width = states.size(1);
  CHECK(log_sum_exp.numel() == count && weights.numel() == count && log_sum_exp.is_contiguous() &&
        weights.is_contiguous());
  const std::vector<StateBlock> blocks = CutStates(count, width, options_.message_bytes);
  auto gather =
      std::make_shared<Gather>(blocks.size() * static_cast<size_t>(shards()), std::move(done));
  const std::string what = StrCat("gradients of the softmax over ", table, ", step ", step);
  for (const StateBlock& block : blocks) {
    const ps::SoftmaxBackward request{KeyOf(table),
                                      step,
                                      block.part,
                                      block.parts,
                                      sampling.count,
                                      sampling.log_uniform,
                                      learning_rate,
                                      width,
                                      FrameOf(log_sum_exp, block),
                                      FrameOf(weights, block),
                                      {},
                                      {}};
    ps::SoftmaxBackward whole = request;  // for a shard that lacks the first half
    whole.states = FrameOf(states, block);
    whole.labels = FrameOf(labels, block);
    for (int slot = 0; slot < shards(); ++slot) {
      const auto on_answer = [this, gather, whole, slot, what](const absl::StatusOr<Wire>& answer) {
        if (!answer.ok() || answer->envelope.code != Code::kMissingForward) {
          return gather->Add(answer.status());
        }
        caller_.Call(slot, whole, 0, what,
                     [gather](const absl::StatusOr<Wire>& again) { gather->Add(again.status()); });
      };
      caller_.Call(slot, request, 0, what, on_answer);
    }
  }
}

}  // namespace mixrec::ps
