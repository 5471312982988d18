// Client's exact ranks and retrieval: every shard gets every state and answers about its rows.
#include <limits>

#include "common/log.h"
#include "ps/client.h"
#include "ps/client_states.h"
#include "ps/combine.h"
#include "ps/gather.h"

namespace mixrec::ps {
namespace {

// The exclusion lists of a block's states as frames.
void AddExclusions(const std::vector<std::vector<int32_t>>& excluded, const StateBlock& block,
                   net::Buffer* offsets, net::Buffer* ids) {
  if (excluded.empty()) return;
  std::vector<int32_t> starts{0}, all;
  for (int64_t n = block.first; n < block.first + block.count; ++n) {
    const std::vector<int32_t>& list = excluded[static_cast<size_t>(n)];
    all.insert(all.end(), list.begin(), list.end());
    starts.push_back(static_cast<int32_t>(all.size()));
  }
  *offsets = net::Buffer::Copy(starts.data(), starts.size() * sizeof(int32_t));
  *ids = net::Buffer::Copy(all.data(), all.size() * sizeof(int32_t));
}

// Top-k under way: the shards' lists by block, merged as a block is complete.
class TopKCall {
 public:
  TopKCall(int64_t states, int k, size_t blocks, int shards)
      : k_(k),
        shards_(static_cast<size_t>(shards)),
        result_{at::empty({states, k}, at::kInt), at::empty({states, k}, at::kFloat)},
        lists_(blocks) {}

  const TopKResult& result() const { return result_; }

  absl::Status Add(const StateBlock& block, const absl::StatusOr<Wire>& answer) {
    if (!answer.ok()) return answer.status();
    const auto* found = std::get_if<TopKLists>(&answer->body);
    if (found == nullptr) return FailureError("a shard answered top-k with something else");
    const int64_t kept = static_cast<int64_t>(found->ids.size() / sizeof(int32_t)) / block.count;
    MIXREC_ASSIGN_OR_RETURN(const at::Tensor ids,
                            TakeTensor(found->ids, at::kInt, {block.count, kept}));
    MIXREC_ASSIGN_OR_RETURN(const at::Tensor scores,
                            TakeTensor(found->scores, at::kFloat, {block.count, kept}));
    auto& lists = lists_[static_cast<size_t>(block.part)];
    lists.emplace_back(ids, scores);
    if (lists.size() < shards_) return absl::OkStatus();
    const TopKResult merged = MergeTopK(lists, k_);
    result_.ids.narrow(0, block.first, block.count).copy_(merged.ids);
    result_.scores.narrow(0, block.first, block.count).copy_(merged.scores);
    lists.clear();
    return absl::OkStatus();
  }

 private:
  int k_;
  size_t shards_;
  TopKResult result_;
  std::vector<std::vector<std::pair<at::Tensor, at::Tensor>>> lists_;  // by block
};

// Takes the scores that a shard knows; NaN are the others'.
absl::Status AddScores(const absl::StatusOr<Wire>& answer, at::Tensor scores) {
  if (!answer.ok()) return answer.status();
  const auto* partial = std::get_if<RankPartial>(&answer->body);
  if (partial == nullptr) return FailureError("a shard answered a rank with something else");
  MIXREC_ASSIGN_OR_RETURN(const at::Tensor known,
                          TakeTensor(partial->target_scores, at::kFloat, {scores.numel()}));
  scores.copy_(at::where(known.isnan(), scores, known));
  return absl::OkStatus();
}

// Adds a shard's rows ahead to the ranks of a block.
absl::Status AddCounts(const absl::StatusOr<Wire>& answer, const StateBlock& block,
                       std::vector<int64_t>* ranks) {
  if (!answer.ok()) return answer.status();
  const auto* partial = std::get_if<RankPartial>(&answer->body);
  if (partial == nullptr) return FailureError("a shard answered a rank with something else");
  MIXREC_ASSIGN_OR_RETURN(const at::Tensor counts,
                          TakeTensor(partial->counts, at::kInt, {block.count}));
  for (int64_t n = 0; n < block.count; ++n) {
    (*ranks)[static_cast<size_t>(block.first + n)] += counts.data_ptr<int32_t>()[n];
  }
  return absl::OkStatus();
}

}  // namespace

void Client::TopK(const std::string& table, int64_t step, const TopKRequest& request,
                  DoneTopK done) {
  CheckStates(request.states);
  const int64_t count = request.states.size(0), width = request.states.size(1);
  const std::vector<StateBlock> blocks = CutStates(count, width, options_.message_bytes);
  auto call = std::make_shared<TopKCall>(count, request.k, blocks.size(), shards());
  if (count == 0) return done(call->result());
  auto gather = std::make_shared<Gather>(
      blocks.size() * static_cast<size_t>(shards()), [call, done](const absl::Status& status) {
        done(status.ok() ? absl::StatusOr<TopKResult>(call->result()) : status);
      });
  for (const StateBlock& block : blocks) {
    ps::TopK message{KeyOf(table), step, request.k, width, FrameOf(request.states, block), {}, {}};
    AddExclusions(request.excluded, block, &message.exclude_offsets, &message.exclude_ids);
    const auto answer_bytes = static_cast<size_t>(block.count * request.k) * 8;
    for (int slot = 0; slot < shards(); ++slot) {
      caller_.Call(slot, message, answer_bytes, StrCat("top-k of ", table),
                   [call, gather, block](const absl::StatusOr<Wire>& answer) {
                     gather->Add(call->Add(block, answer));
                   });
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
  const std::vector<StateBlock> blocks = CutStates(count, width, options_.message_bytes);
  auto gather = std::make_shared<Gather>(blocks.size(), [ranks, done](const absl::Status& status) {
    done(status.ok() ? absl::StatusOr<std::vector<int64_t>>(*ranks) : status);
  });
  for (const StateBlock& block : blocks) {
    ps::Rank message{
        KeyOf(table), step, width, FrameOf(request.states, block), FrameOf(request.targets, block),
        {},           {},   {}};
    AddExclusions(request.excluded, block, &message.exclude_offsets, &message.exclude_ids);
    RankBlock(message, block, ranks, [gather](const absl::Status& s) { gather->Add(s); });
  }
}

// Two rounds: the one shard that has a target knows its score; then all count what is ahead of it.
void Client::RankBlock(const ps::Rank& message, const StateBlock& block,
                       std::shared_ptr<std::vector<int64_t>> ranks, Done done) {
  const auto each_shard = static_cast<size_t>(shards());
  const size_t answer_bytes = static_cast<size_t>(block.count) * 4;
  const std::string what = StrCat("ranks in ", message.key.table);
  const at::Tensor scores =
      at::full({block.count}, std::numeric_limits<float>::quiet_NaN(), at::kFloat);
  const auto count_ahead = [=](const absl::Status& status) {
    if (!status.ok()) return done(status);
    ps::Rank second = message;
    second.target_scores = BufferOf(scores);
    auto counted = std::make_shared<Gather>(each_shard, done);
    for (int slot = 0; slot < shards(); ++slot) {
      caller_.Call(slot, second, answer_bytes, what, [=](const absl::StatusOr<Wire>& answer) {
        counted->Add(AddCounts(answer, block, ranks.get()));
      });
    }
  };
  auto scored = std::make_shared<Gather>(each_shard, count_ahead);
  for (int slot = 0; slot < shards(); ++slot) {
    caller_.Call(slot, message, answer_bytes, what, [=](const absl::StatusOr<Wire>& answer) {
      scored->Add(AddScores(answer, scores));
    });
  }
}

}  // namespace mixrec::ps
