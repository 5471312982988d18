// The verbs of Client that compute with all rows of a table: every shard gets every state.
#include <algorithm>

#include "common/log.h"
#include "ps/client.h"
#include "ps/combine.h"
#include "ps/gather.h"
#include "ps/tensor_buffer.h"

namespace mixrec::ps {
namespace {

using at::Tensor;

constexpr size_t kFloat = sizeof(float);

template <typename T>
net::Buffer Frame(const std::vector<T>& values, int64_t first, int64_t count) {
  return net::Buffer::Copy(values.data() + first, static_cast<size_t>(count) * sizeof(T));
}

net::Buffer RowsOf(const Tensor& tensor, int64_t first, int64_t count) {
  return BufferOf(tensor.narrow(0, first, count));
}

// A tensor over a frame of a known number of elements; an error when it has another.
absl::StatusOr<Tensor> Take(const net::Buffer& frame, at::ScalarType type,
                            std::vector<int64_t> sizes) {
  int64_t elements = 1;
  for (const int64_t size : sizes) elements *= size;
  if (frame.size() != static_cast<size_t>(elements) * 4) {
    return FailureError("a shard's answer has ", frame.size(), " bytes instead of ", elements * 4);
  }
  return TensorOf(frame, type, sizes);
}

absl::StatusOr<ShardSoftmax> TakePartial(const absl::StatusOr<Wire>& answer, int64_t states,
                                         int64_t width) {
  if (!answer.ok()) return answer.status();
  const auto* partial = std::get_if<SoftmaxPartial>(&answer->body);
  if (partial == nullptr) return FailureError("a shard answered a softmax with something else");
  ShardSoftmax result;
  const auto row_bytes = static_cast<size_t>(width) * kFloat;
  const auto owned = static_cast<int64_t>(partial->label_rows.size() / row_bytes);
  MIXREC_ASSIGN_OR_RETURN(result.maximum, Take(partial->maximum, at::kFloat, {states}));
  MIXREC_ASSIGN_OR_RETURN(result.sum, Take(partial->sum, at::kFloat, {states}));
  MIXREC_ASSIGN_OR_RETURN(result.label_logits, Take(partial->label_logits, at::kFloat, {states}));
  MIXREC_ASSIGN_OR_RETURN(result.label_rows, Take(partial->label_rows, at::kFloat, {owned, width}));
  MIXREC_ASSIGN_OR_RETURN(result.numerators,
                          Take(partial->numerators, at::kFloat, {states, width}));
  return result;
}

// The exclusion lists of states [first, first + count) as frames.
void AddExclusions(const std::vector<std::vector<int32_t>>& excluded, int64_t first, int64_t count,
                   net::Buffer* offsets, net::Buffer* ids) {
  if (excluded.empty()) return;
  std::vector<int32_t> starts{0}, all;
  for (int64_t n = first; n < first + count; ++n) {
    const std::vector<int32_t>& list = excluded[static_cast<size_t>(n)];
    all.insert(all.end(), list.begin(), list.end());
    starts.push_back(static_cast<int32_t>(all.size()));
  }
  *offsets = Frame(starts, 0, static_cast<int64_t>(starts.size()));
  *ids = Frame(all, 0, static_cast<int64_t>(all.size()));
}

void CheckStates(const Tensor& states) {
  CHECK(states.dim() == 2 && states.is_contiguous() && states.is_cpu() &&
        states.scalar_type() == at::kFloat);
}

}  // namespace

std::vector<Client::Block> Client::Cut(int64_t states, int64_t width) const {
  const int64_t rows =
      std::max<int64_t>(1, options_.message_bytes / (width * static_cast<int64_t>(kFloat)));
  const auto parts = static_cast<int32_t>(std::max<int64_t>(1, (states + rows - 1) / rows));
  std::vector<Block> blocks;
  for (int32_t part = 0; part < parts; ++part) {
    const int64_t first = part * rows;
    blocks.push_back({first, std::min(rows, states - first), part, parts});
  }
  return blocks;
}

void Client::Softmax(const std::string& table, int64_t step, Tensor states,
                     std::vector<int32_t> labels, const Sampling& sampling, DoneSoftmax done) {
  CheckStates(states);
  const int64_t count = states.size(0), width = states.size(1);
  CHECK_EQ(count, static_cast<int64_t>(labels.size()));
  struct Progress {
    SoftmaxResult result;
    std::vector<std::vector<ShardSoftmax>> partials;  // by block and shard
    std::vector<int> left;                            // answers, by block
  };
  auto progress = std::make_shared<Progress>();
  progress->result = {at::empty({count}, at::kFloat), at::empty({count}, at::kFloat),
                      at::empty({count, width}, at::kFloat)};
  if (count == 0) return done(progress->result);
  const std::vector<Block> blocks = Cut(count, width);
  progress->partials.assign(blocks.size(),
                            std::vector<ShardSoftmax>(static_cast<size_t>(shards())));
  progress->left.assign(blocks.size(), shards());
  auto gather = std::make_shared<Gather>(
      blocks.size() * static_cast<size_t>(shards()), [progress, done](const absl::Status& status) {
        done(status.ok() ? absl::StatusOr<SoftmaxResult>(progress->result) : status);
      });
  const auto place = [progress, gather, width](const Block& block, int slot,
                                               const absl::StatusOr<Wire>& answer) {
    const auto index = static_cast<size_t>(block.part);
    absl::StatusOr<ShardSoftmax> partial = TakePartial(answer, block.count, width);
    if (!partial.ok()) return gather->Add(partial.status());
    progress->partials[index][static_cast<size_t>(slot)] = *std::move(partial);
    if (--progress->left[index] > 0) return gather->Add(absl::OkStatus());
    const absl::StatusOr<SoftmaxResult> combined = CombineSoftmax(progress->partials[index]);
    progress->partials[index].clear();
    if (!combined.ok()) return gather->Add(combined.status());
    SoftmaxResult& result = progress->result;
    result.entropies.narrow(0, block.first, block.count).copy_(combined->entropies);
    result.log_sum_exp.narrow(0, block.first, block.count).copy_(combined->log_sum_exp);
    result.gradient.narrow(0, block.first, block.count).copy_(combined->gradient);
    gather->Add(absl::OkStatus());
  };
  for (const Block& block : blocks) {
    ps::SoftmaxForward request{KeyOf(table),
                               step,
                               block.part,
                               block.parts,
                               sampling.count,
                               sampling.log_uniform,
                               width,
                               RowsOf(states, block.first, block.count),
                               Frame(labels, block.first, block.count)};
    const size_t answer_bytes = static_cast<size_t>(block.count * width) * kFloat;
    for (int slot = 0; slot < shards(); ++slot) {
      caller_.Call(
          slot, request, answer_bytes, StrCat("softmax over ", table, ", step ", step),
          [place, block, slot](const absl::StatusOr<Wire>& answer) { place(block, slot, answer); });
    }
  }
}

void Client::SoftmaxBackward(const std::string& table, int64_t step, double learning_rate,
                             Tensor states, std::vector<int32_t> labels, const Sampling& sampling,
                             Tensor log_sum_exp, Tensor weights, Done done) {
  CheckStates(states);
  const int64_t count = states.size(0), width = states.size(1);
  CHECK(log_sum_exp.numel() == count && weights.numel() == count && log_sum_exp.is_contiguous() &&
        weights.is_contiguous());
  const std::vector<Block> blocks = Cut(count, width);
  auto gather =
      std::make_shared<Gather>(blocks.size() * static_cast<size_t>(shards()), std::move(done));
  const std::string what = StrCat("gradients of the softmax over ", table, ", step ", step);
  for (const Block& block : blocks) {
    ps::SoftmaxBackward request{KeyOf(table),
                                step,
                                block.part,
                                block.parts,
                                sampling.count,
                                sampling.log_uniform,
                                learning_rate,
                                width,
                                RowsOf(log_sum_exp, block.first, block.count),
                                RowsOf(weights, block.first, block.count),
                                {},
                                {}};
    ps::SoftmaxBackward whole = request;
    whole.states = RowsOf(states, block.first, block.count);
    whole.labels = Frame(labels, block.first, block.count);
    for (int slot = 0; slot < shards(); ++slot) {
      caller_.Call(slot, request, 0, what,
                   [this, gather, whole, slot, what](const absl::StatusOr<Wire>& answer) {
                     if (!answer.ok() || answer->envelope.code != Code::kMissingForward) {
                       return gather->Add(answer.status());
                     }
                     caller_.Call(slot, whole, 0, what,
                                  [gather](const absl::StatusOr<Wire>& again) {
                                    gather->Add(again.status());
                                  });
                   });
    }
  }
}

void Client::TopK(const std::string& table, int64_t step, const TopKRequest& request,
                  DoneTopK done) {
  CheckStates(request.states);
  const int64_t count = request.states.size(0), width = request.states.size(1);
  TopKResult empty{at::empty({count, request.k}, at::kInt), at::empty({count, request.k})};
  if (count == 0) return done(empty);
  using List = std::pair<Tensor, Tensor>;
  auto result = std::make_shared<TopKResult>(empty);
  const std::vector<Block> blocks = Cut(count, width);
  auto lists = std::make_shared<std::vector<std::vector<List>>>(blocks.size());
  auto gather = std::make_shared<Gather>(
      blocks.size() * static_cast<size_t>(shards()), [result, done](const absl::Status& status) {
        done(status.ok() ? absl::StatusOr<TopKResult>(*result) : status);
      });
  const int k = request.k;
  const int all = shards();
  for (const Block& block : blocks) {
    ps::TopK message{KeyOf(table), step, k, width, RowsOf(request.states, block.first, block.count),
                     {},           {}};
    AddExclusions(request.excluded, block.first, block.count, &message.exclude_offsets,
                  &message.exclude_ids);
    for (int slot = 0; slot < all; ++slot) {
      const auto place = [=](const absl::StatusOr<Wire>& answer) {
        if (!answer.ok()) return gather->Add(answer.status());
        const auto* lists_of = std::get_if<TopKLists>(&answer->body);
        if (lists_of == nullptr) return gather->Add(FailureError("not an answer to top-k"));
        const int64_t kept = static_cast<int64_t>(lists_of->ids.size() / 4) / block.count;
        const auto ids = Take(lists_of->ids, at::kInt, {block.count, kept});
        const auto scores = Take(lists_of->scores, at::kFloat, {block.count, kept});
        if (!ids.ok()) return gather->Add(ids.status());
        if (!scores.ok()) return gather->Add(scores.status());
        std::vector<List>& of_block = (*lists)[static_cast<size_t>(block.part)];
        of_block.emplace_back(*ids, *scores);
        if (of_block.size() == static_cast<size_t>(all)) {
          const TopKResult merged = MergeTopK(of_block, k);
          result->ids.narrow(0, block.first, block.count).copy_(merged.ids);
          result->scores.narrow(0, block.first, block.count).copy_(merged.scores);
          of_block.clear();
        }
        gather->Add(absl::OkStatus());
      };
      caller_.Call(slot, message, static_cast<size_t>(block.count * k) * 8,
                   StrCat("top-k of ", table), place);
    }
  }
}

void Client::Rank(const std::string& table, int64_t step, const RankRequest& request,
                  DoneRanks done) {
  CheckStates(request.states);
  const int64_t count = request.states.size(0), width = request.states.size(1);
  CHECK_EQ(count, static_cast<int64_t>(request.targets.size()));
  if (count == 0) return done(std::vector<int64_t>{});
  auto ranks = std::make_shared<std::vector<int64_t>>(static_cast<size_t>(count), 1);
  const std::vector<Block> blocks = Cut(count, width);
  auto gather = std::make_shared<Gather>(
      blocks.size() * static_cast<size_t>(shards()), [ranks, done](const absl::Status& status) {
        done(status.ok() ? absl::StatusOr<std::vector<int64_t>>(*ranks) : status);
      });
  const std::string what = StrCat("ranks in ", table);
  for (const Block& block : blocks) {
    ps::Rank message{KeyOf(table),
                     step,
                     width,
                     RowsOf(request.states, block.first, block.count),
                     Frame(request.targets, block.first, block.count),
                     {},
                     {},
                     {}};
    AddExclusions(request.excluded, block.first, block.count, &message.exclude_offsets,
                  &message.exclude_ids);
    const size_t answer_bytes = static_cast<size_t>(block.count) * 4;
    const auto count_ahead = [=](const Tensor& scores) {
      ps::Rank second = message;
      second.target_scores = BufferOf(scores);
      for (int slot = 0; slot < shards(); ++slot) {
        caller_.Call(slot, second, answer_bytes, what, [=](const absl::StatusOr<Wire>& answer) {
          if (!answer.ok()) return gather->Add(answer.status());
          const auto* partial = std::get_if<RankPartial>(&answer->body);
          const auto counts =
              Take(partial != nullptr ? partial->counts : net::Buffer(), at::kInt, {block.count});
          if (!counts.ok()) return gather->Add(counts.status());
          const int32_t* ahead = counts->data_ptr<int32_t>();
          for (int64_t n = 0; n < block.count; ++n) {
            (*ranks)[static_cast<size_t>(block.first + n)] += ahead[n];
          }
          gather->Add(absl::OkStatus());
        });
      }
    };
    // The first round: the one shard that has a target knows its score.
    const Tensor scores = at::full({block.count}, std::numeric_limits<float>::quiet_NaN());
    auto first = std::make_shared<Gather>(
        static_cast<size_t>(shards()), [this, gather, count_ahead, scores](const absl::Status& s) {
          if (s.ok()) return count_ahead(scores);
          for (int slot = 0; slot < shards(); ++slot) gather->Add(s);
        });
    for (int slot = 0; slot < shards(); ++slot) {
      caller_.Call(slot, message, answer_bytes, what,
                   [first, scores, block](const absl::StatusOr<Wire>& answer) {
                     if (!answer.ok()) return first->Add(answer.status());
                     const auto* partial = std::get_if<RankPartial>(&answer->body);
                     const auto known =
                         Take(partial != nullptr ? partial->target_scores : net::Buffer(),
                              at::kFloat, {block.count});
                     if (!known.ok()) return first->Add(known.status());
                     scores.copy_(at::where(known->isnan(), scores, *known));
                     first->Add(absl::OkStatus());
                   });
    }
  }
}

}  // namespace mixrec::ps
