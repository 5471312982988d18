// The verbs of ServedTable that compute with all rows: softmax, ranks, retrieval.
#include <algorithm>

#include "common/log.h"
#include "ps/served_table.h"
#include "ps/tensor_buffer.h"

namespace mixrec::ps {
namespace {

constexpr int64_t kKeptBytes = int64_t{1} << 29;  // of a table's exponentials

std::vector<int32_t> Integers(const net::Buffer& buffer) {
  const auto* first = reinterpret_cast<const int32_t*>(buffer.data());
  return {first, first + buffer.size() / sizeof(int32_t)};
}

int64_t Count(const net::Buffer& buffer) {
  return static_cast<int64_t>(buffer.size() / sizeof(int32_t));
}

at::Tensor StatesOf(const net::Buffer& states, int64_t width) {
  return TensorOf(states, at::kFloat, {Count(states) / width, width});
}

net::Buffer FrameOf(const at::Tensor& tensor) { return BufferOf(tensor.cpu().contiguous()); }

template <typename Request>
Sampling SamplingOf(const Request& request) {
  return {request.sampled, request.log_uniform};
}

}  // namespace

// `rows`: labels or targets, one a state.
Answer ServedTable::CheckStates(const net::Buffer& states, int64_t width,
                                const net::Buffer& rows) const {
  if (vocabulary_ == nullptr) {
    return Refuse(Code::kRefused, "table ", spec().name, " is not one for a softmax");
  }
  if (width != vocabulary_->width()) {
    return Refuse(Code::kRefused, "states of width ", width, " for table ", spec().name,
                  " of width ", vocabulary_->width());
  }
  if (!rows.empty() && Count(rows) * width != Count(states)) {
    return Refuse(Code::kRefused, Count(rows), " rows for ", Count(states) / width, " states");
  }
  for (const int32_t row : Integers(rows)) {
    if (row < 0 || row >= spec().rows) {
      return Refuse(Code::kRefused, "row ", row, " of table ", spec().name, " with ", spec().rows);
    }
  }
  return {};
}

Answer ServedTable::Read(const SoftmaxForward& forward) {
  Answer answer = CheckStates(forward.states, forward.width, forward.labels);
  if (answer.code != Code::kOk) return answer;
  const Sampling sampling = SamplingOf(forward);
  const absl::Status suits = CheckSoftmax(spec(), sampling);
  if (!suits.ok()) return Refuse(Code::kRefused, std::string(suits.message()));
  if (!Admits(forward.step, forward.at_least)) {
    return Parked();
  }
  const std::vector<int32_t> labels = Integers(forward.labels);
  SoftmaxBatch batch =
      vocabulary_->MakeBatch(StatesOf(forward.states, forward.width), labels.data());
  const ShardSoftmax partial =
      vocabulary_->Forward(sampling, forward.step, kKeptBytes - kept_bytes_, &batch);
  Keep(forward, std::move(batch));
  return {
      Code::kOk, "",
      SoftmaxPartial{FrameOf(partial.maximum), FrameOf(partial.sum), FrameOf(partial.label_logits),
                     FrameOf(partial.label_rows), FrameOf(partial.numerators)}};
}

void ServedTable::Keep(const SoftmaxForward& forward, SoftmaxBatch batch) {
  if (batch.kept.blocks.empty()) return;
  kept_bytes_ += batch.bytes();
  kept_.push_back({forward.states, forward.step, std::move(batch)});
}

// The batch of a second half: that of the first, or made anew.
SoftmaxBatch ServedTable::TakeBatch(const SoftmaxBackward& backward) {
  const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& kept) {
    return kept.states.data() == backward.states.data() && kept.step == backward.step;
  });
  if (found == kept_.end()) {
    const std::vector<int32_t> labels = Integers(backward.labels);
    return vocabulary_->MakeBatch(StatesOf(backward.states, backward.width), labels.data());
  }
  SoftmaxBatch batch = std::move(found->batch);
  kept_bytes_ -= batch.bytes();
  kept_.erase(found);
  return batch;
}

Answer ServedTable::Add(int rank, const SoftmaxBackward& backward) {
  Answer answer = CheckStates(backward.states, backward.width, backward.labels);
  if (answer.code != Code::kOk) return answer;
  const absl::Status suits = CheckSoftmax(spec(), SamplingOf(backward));
  if (!suits.ok()) return Refuse(Code::kRefused, std::string(suits.message()));
  if (backward.log_sum_exp.size() != backward.labels.size() ||
      backward.weights.size() != backward.labels.size()) {
    return Refuse(Code::kRefused, Count(backward.labels), " labels and other numbers of weights");
  }
  return AddPiece({rank, backward.step, backward.part, backward.parts, backward});
}

void ServedTable::ApplySoftmax(const std::vector<Piece>& pieces) {
  for (const Piece& piece : pieces) {
    const auto& backward = std::get<SoftmaxBackward>(piece.body);
    const int64_t states = Count(backward.labels);
    if (states == 0) continue;
    vocabulary_->Backward(SamplingOf(backward), backward.step, TakeBatch(backward),
                          TensorOf(backward.log_sum_exp, at::kFloat, {states}),
                          TensorOf(backward.weights, at::kFloat, {states}));
  }
  const auto& last = std::get<SoftmaxBackward>(pieces.back().body);
  vocabulary_->ApplyStep(last.learning_rate);
  // First halves whose second never came.
  while (!kept_.empty() && kept_.front().step < last.step) {
    kept_bytes_ -= kept_.front().batch.bytes();
    kept_.pop_front();
  }
}

void ServedTable::Reset(int64_t step) {
  gate_.Reset(step);
  kept_.clear();
  kept_bytes_ = 0;
}

Answer ServedTable::Read(const TopK& request) {
  Answer answer = CheckStates(request.states, request.width, {});
  if (answer.code != Code::kOk) return answer;
  if (!gate_.Settled(request.step)) return Parked();
  const auto [ids, scores] =
      vocabulary_->TopK(StatesOf(request.states, request.width), request.k,
                        {Integers(request.exclude_offsets), Integers(request.exclude_ids)});
  return {Code::kOk, "", TopKLists{FrameOf(ids), FrameOf(scores)}};
}

Answer ServedTable::Read(const Rank& request) {
  Answer answer = CheckStates(request.states, request.width, request.targets);
  if (answer.code != Code::kOk) return answer;
  if (!gate_.Settled(request.step)) return Parked();
  const at::Tensor states = StatesOf(request.states, request.width);
  const std::vector<int32_t> targets = Integers(request.targets);
  if (request.target_scores.empty()) {
    return {Code::kOk, "", RankPartial{FrameOf(vocabulary_->TargetScores(states, targets)), {}}};
  }
  const at::Tensor counts = vocabulary_->CountAhead(
      states, targets,
      TensorOf(request.target_scores, at::kFloat, {static_cast<int64_t>(targets.size())}),
      {Integers(request.exclude_offsets), Integers(request.exclude_ids)});
  return {Code::kOk, "", RankPartial{{}, FrameOf(counts)}};
}

}  // namespace mixrec::ps
