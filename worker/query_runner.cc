#include "worker/query_runner.h"

#include <algorithm>
#include <future>
#include <optional>
#include <utility>

#include "common/stop_signal.h"
#include "model/stream.h"
#include "tensor/side_stream.h"

namespace mixrec::worker {
namespace {

constexpr int64_t kCpuBatchTokens = 4096, kGpuBatchTokens = 65536;
constexpr int64_t kScoreElements = int64_t{1} << 25;  // 128 MiB of fp32 scores at once

data::BatchOptions SequenceOptions(const ModelState& state, int max_items) {
  data::BatchOptions options;
  options.max_items = max_items;
  options.inject_user = state.options().user_columns();
  options.inject_item = state.options().item_columns();
  options.sequence_token = static_cast<int32_t>(state.backbone().config.vocab_size);
  options.alignment_token = options.sequence_token + 1;
  return options;
}

// Folds the model's adapters as long as it lives.
class Folding {
 public:
  explicit Folding(model::MixrecModel* model) : model_(model) { model->Fold(); }
  ~Folding() { model_->Unfold(); }
  Folding(const Folding&) = delete;
  Folding& operator=(const Folding&) = delete;

 private:
  model::MixrecModel* model_;
};

// Packs batches and lists what the model needs of them on a thread of its own, one ahead.
class BatchPacker {
 public:
  BatchPacker(const data::Catalogue& catalogue, const std::vector<data::EvaluationQuery>& queries,
              const data::BatchOptions& options, std::vector<std::vector<int32_t>> plan,
              const ModelState& state)
      : catalogue_(catalogue),
        queries_(queries),
        options_(options),
        plan_(std::move(plan)),
        state_(state) {
    Start();
  }

  struct Packed {
    const std::vector<int32_t>* chosen = nullptr;  // indices of its queries
    data::PackedBatch batch;
    model::StreamLists lists;
    std::vector<int64_t> sizes;
    at::Tensor host;  // the lists
  };
  // Nothing after the last batch.
  std::optional<Packed> Next() {
    if (!packing_.valid()) return std::nullopt;
    std::optional<Packed> packed = packing_.get();
    Start();
    return packed;
  }

 private:
  void Start() {
    if (next_ == plan_.size()) return;
    packing_ = std::async(std::launch::async, [this, index = next_++] { return Pack(index); });
  }
  Packed Pack(size_t index) const {
    std::vector<data::EvaluationQuery> part;
    part.reserve(plan_[index].size());
    for (const int32_t query : plan_[index]) part.push_back(queries_[static_cast<size_t>(query)]);
    data::PackedBatch batch = data::BuildEvaluationBatch(catalogue_, options_, part);
    model::StreamLists lists(batch, state_.backbone().config.vocab_size, state_.options(), {},
                             /*training=*/false);
    std::vector<int64_t> sizes = lists.Sizes();
    at::Tensor host =
        at::empty({lists.Bytes(sizes)},
                  at::TensorOptions(at::kByte).pinned_memory(state_.device().is_cuda()));
    lists.Write(sizes, host.data_ptr());
    return {&plan_[index], std::move(batch), std::move(lists), std::move(sizes), std::move(host)};
  }

  const data::Catalogue& catalogue_;
  const std::vector<data::EvaluationQuery>& queries_;
  const data::BatchOptions options_;
  const std::vector<std::vector<int32_t>> plan_;
  const ModelState& state_;
  size_t next_ = 0;
  std::future<Packed> packing_;
};

// The states of a batch's sequences [N, D].
absl::StatusOr<at::Tensor> Forward(const BatchPacker::Packed& packed, ModelState* state) {
  const model::Stream stream =
      packed.lists.Over(packed.sizes, packed.host.to(state->device(), /*non_blocking=*/true));
  model::CfRows rows;
  if (state->resident()) {
    rows = state->PullResidentRows(stream);
  } else {
    MIXREC_ASSIGN_OR_RETURN(rows, state->PullRows(packed.batch));
  }
  return state->network().Forward(stream, rows, /*training=*/false);
}

// The batches of one rank. Neighbours in the plan are of one length: all ranks have as much to do.
std::vector<std::vector<int32_t>> PartOf(std::vector<std::vector<int32_t>> plan,
                                         const collective::Group* group) {
  if (group == nullptr) return plan;
  std::vector<std::vector<int32_t>> part;
  for (auto k = static_cast<size_t>(group->rank()); k < plan.size();
       k += static_cast<size_t>(group->size())) {
    part.push_back(std::move(plan[k]));
  }
  return part;
}

// Ranks wait for each other every so often, so that one that is stuck is noticed in time, and one
// that is slow is not taken for it.
class Pace {
 public:
  // Of `batches` in all.
  Pace(collective::Group* group, size_t batches)
      : group_(group),
        common_(group == nullptr ? 0 : batches / static_cast<size_t>(group->size())) {}

  absl::Status BeforeBatch() {
    const size_t batch = batch_++;
    if (batch >= common_ || batch % kBatches != 0) return absl::OkStatus();
    return collective::Agree(group_, absl::OkStatus(), "the batches of an evaluation");
  }

 private:
  static constexpr size_t kBatches = 8;

  collective::Group* group_;
  const size_t common_;  // batches that every rank has
  size_t batch_ = 0;
};

using Consumer = std::function<absl::Status(absl::Span<const int32_t>, const at::Tensor&)>;

// `states` [N, D] of the chosen queries, which the side stream has, in parts of `most_states`.
absl::Status Consume(const std::vector<int32_t>& chosen, const at::Tensor& states,
                     int64_t most_states, const Consumer& consumer, tensor::SideStream* side) {
  absl::Status status;
  side->RunForked({}, [&] {
    const at::Tensor finite = states.isfinite().all();
    const auto count = static_cast<int64_t>(chosen.size());
    for (int64_t first = 0; first < count && status.ok(); first += most_states) {
      const int64_t size = std::min(most_states, count - first);
      status = consumer(absl::MakeConstSpan(chosen).subspan(static_cast<size_t>(first),
                                                            static_cast<size_t>(size)),
                        states.narrow(0, first, size));
    }
    if (status.ok() && !finite.item<bool>()) {
      status = FailureError(
          "the model's states are not finite: it has diverged, or the precision is "
          "too low for this backbone");
    }
  });
  return status;
}

}  // namespace

absl::Status RunQueries(const data::Catalogue& catalogue,
                        const std::vector<data::EvaluationQuery>& queries,
                        const QueryRunnerOptions& options, ModelState* state,
                        const Consumer& consume) {
  const data::BatchOptions batch_options = SequenceOptions(*state, options.max_items);
  const bool on_cpu = state->device().is_cpu();
  const int64_t max_tokens = options.max_batch_tokens > 0 ? options.max_batch_tokens
                             : on_cpu                     ? kCpuBatchTokens
                                                          : kGpuBatchTokens;
  std::vector<int64_t> lengths;
  lengths.reserve(queries.size());
  for (const auto& query : queries) lengths.push_back(SequenceTokens(catalogue, query.items));
  const int64_t max_states = std::max<int64_t>(1, kScoreElements / state->items());

  const Folding folding(&state->network());
  std::vector<std::vector<int32_t>> plan = data::PlanBatchesByTokens(lengths, max_tokens);
  Pace pace(options.group, plan.size());
  BatchPacker packer(catalogue, queries, batch_options, PartOf(std::move(plan), options.group),
                     *state);
  // A batch's states are consumed, which waits for the device, while the next one's are computed.
  tensor::SideStream side(state->device());
  std::optional<BatchPacker::Packed> last;
  at::Tensor last_states;
  do {
    if (StopRequested()) return StoppedError("stopped on request");
    auto packed = packer.Next();
    at::Tensor states;
    if (packed) {
      MIXREC_RETURN_IF_ERROR(pace.BeforeBatch());
      MIXREC_ASSIGN_OR_RETURN(states, Forward(*packed, state));
    }
    if (last) {
      MIXREC_RETURN_IF_ERROR(Consume(*last->chosen, last_states, max_states, consume, &side));
    }
    side.Fork();
    last = std::move(packed);
    last_states = std::move(states);
  } while (last);
  return absl::OkStatus();
}

}  // namespace mixrec::worker
