#include "worker/step_graphs.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "common/log.h"
#include "tensor/device_step.h"
#ifdef MIXREC_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#endif

namespace mixrec::worker {
namespace {

// Rows of a plan are at most kMostPadding * rows + kFreePadding of a batch that uses it.
constexpr double kMostPadding = 1.04, kFreePadding = 128;
constexpr int64_t kAlignment = 256;  // bytes; of a member's part of a buffer
constexpr int64_t kScheduleBytes = tensor::kScheduleSize * static_cast<int64_t>(sizeof(float));

// Room in host memory that a GPU can read by itself.
at::Tensor HostBytes(int64_t bytes, at::Device device) {
  return at::empty({bytes}, at::TensorOptions().dtype(at::kByte).pinned_memory(device.is_cuda()));
}

// Whether two batches are one and the same.
bool SameBatch(const data::PackedBatch& a, const data::PackedBatch& b) {
  return a.tokens == b.tokens && a.user_ids == b.user_ids && a.item_ids == b.item_ids &&
         a.targets == b.targets && a.cl_query == b.cl_query && a.cl_negative == b.cl_negative &&
         a.bpr_negative == b.bpr_negative && a.alignment_items == b.alignment_items;
}

// Whether two members make the same lists of a batch.
bool SameLists(const StepMember& a, const StepMember& b) {
  const model::ModelOptions &of_a = a.state->options(), &of_b = b.state->options();
  return a.options.dropout_seed == b.options.dropout_seed && of_a.dropout == of_b.dropout &&
         of_a.user_columns() == of_b.user_columns() && of_a.item_columns() == of_b.item_columns();
}

bool FitInto(const std::vector<int64_t>& sizes, const std::vector<int64_t>& capacities) {
  return sizes.size() == capacities.size() &&
         std::equal(sizes.begin(), sizes.end(), capacities.begin(),
                    [](int64_t size, int64_t capacity) { return size <= capacity; });
}

data::BatchShape Largest(data::BatchShape a, const data::BatchShape& b) {
  a.reads = std::max(a.reads, b.reads);
  a.user_ids = std::max(a.user_ids, b.user_ids);
  a.item_ids = std::max(a.item_ids, b.item_ids);
  a.user_columns = std::max(a.user_columns, b.user_columns);
  a.item_columns = std::max(a.item_columns, b.item_columns);
  a.queries = std::max(a.queries, b.queries);
  a.pairs = std::max(a.pairs, b.pairs);
  return a;
}

}  // namespace

// A shape with its place on the device.
struct StepGraphs::Plan {
  data::BatchShape shape;
  int32_t prompt_tokens = 0, negatives = 0;
  std::vector<int64_t> capacities;  // of a stream's lists; empty until the first batch
  int64_t stride = 0;               // bytes of a member: the lists, then the schedule
  at::Tensor buffer;                // on the device, of all members
  std::vector<model::Stream> streams;
  std::vector<at::Tensor> schedules;
  at::Tensor losses;  // [members, kLosses]
  int64_t uses = 0;
#ifdef MIXREC_CUDA
  std::unique_ptr<at::cuda::CUDAGraph> graph;
#endif
};

// Batches in host memory, ready to be copied to their plan's place.
struct StepGraphs::Prepared {
  std::vector<data::PackedBatch> batches;  // as they came
  std::vector<int64_t> steps;
  Plan* plan = nullptr;
  at::Tensor bytes;                // the lists, and room for the schedules
  std::vector<int64_t> schedules;  // where those are
};

StepGraphs::StepGraphs(std::vector<StepMember> members, const StepGraphOptions& graphs)
    : members_(std::move(members)),
      graph_options_(graphs),
      step_(members_),
      host_losses_(
          at::empty({static_cast<int64_t>(members_.size()), ResidentStep::kLosses},
                    at::TensorOptions().dtype(at::kFloat).pinned_memory(device().is_cuda()))) {}

StepGraphs::~StepGraphs() {
#ifdef MIXREC_CUDA
  if (captured_ == 0) return;
  // Memory of graphs that are gone is given back by emptyCache alone, and a capture, which is when
  // the next training would run out of it, does not call that.
  at::cuda::getCurrentCUDAStream().synchronize();
  plans_.clear();
  c10::cuda::CUDACachingAllocator::emptyCache();
#endif
}

StepGraphs::Plan* StepGraphs::PlanFor(const std::vector<const data::PackedBatch*>& batches) {
  std::vector<data::BatchShape> shapes;
  for (const data::PackedBatch* batch : batches) shapes.push_back(data::ShapeOf(*batch));
  int64_t rows = 0;
  for (const data::BatchShape& shape : shapes) {
    largest_ = Largest(largest_, shape);
    rows = std::max(rows, shape.rows);
  }
  const int32_t prompt_tokens = batches[0]->prompt_tokens;
  const int32_t negatives = batches[0]->negatives_per_query;
  Plan* best = nullptr;
  for (const auto& plan : plans_) {
    const bool fits = std::all_of(shapes.begin(), shapes.end(), [&](const data::BatchShape& shape) {
      return shape.FitsInto(plan->shape);
    });
    if (plan->prompt_tokens != prompt_tokens || plan->negatives != negatives || !fits ||
        static_cast<double>(plan->shape.rows) >
            kMostPadding * static_cast<double>(rows) + kFreePadding) {
      continue;
    }
    if (best == nullptr || plan->shape.rows < best->shape.rows) best = plan.get();
  }
  if (best != nullptr) return best;
  auto plan = std::make_unique<Plan>();
  data::BatchShape wanted = largest_;
  const int64_t reads = data::RoundUp(largest_).reads;
  for (const data::BatchShape& shape : shapes) {
    wanted.rows = std::max(wanted.rows, shape.rows + (reads - shape.reads));
  }
  plan->shape = data::RoundUp(wanted);
  plan->prompt_tokens = prompt_tokens;
  plan->negatives = negatives;
  plans_.push_back(std::move(plan));
  return plans_.back().get();
}

StepGraphs::Lists StepGraphs::ListsOf(const Wanted& wanted, const data::BatchShape& shape) const {
  Lists lists;
  for (size_t i = 0; i < members_.size(); ++i) {
    const StepMember& member = members_[i];
    for (size_t j = 0; j < i && lists.size() == i; ++j) {
      if (wanted.steps[i] == wanted.steps[j] && SameLists(member, members_[j]) &&
          SameBatch(*wanted.batches[i], *wanted.batches[j])) {
        lists.push_back(lists[j]);
      }
    }
    if (lists.size() > i) continue;
    lists.push_back(std::make_shared<const model::StreamLists>(
        data::PadBatch(*wanted.batches[i], shape), member.state->backbone().config.vocab_size,
        member.state->options(), model::DropoutKey{member.options.dropout_seed, wanted.steps[i]},
        /*training=*/true));
  }
  return lists;
}

void StepGraphs::MakeRoom(const Lists& lists, Plan* plan) {
#ifdef MIXREC_CUDA
  if (plan->graph != nullptr) {
    at::cuda::getCurrentCUDAStream().synchronize();  // it may be running
    plan->graph.reset();
    --captured_;
  }
#endif
  plan->uses = 0;
  plan->capacities = lists[0]->RoomySizes();
  for (const auto& list : lists) {
    const std::vector<int64_t> sizes = list->RoomySizes();
    for (size_t i = 0; i < sizes.size(); ++i) {
      plan->capacities[i] = std::max(plan->capacities[i], sizes[i]);
    }
  }
  const int64_t bytes = lists[0]->Bytes(plan->capacities);
  plan->stride = (bytes + kScheduleBytes + kAlignment - 1) / kAlignment * kAlignment;
  const auto members = static_cast<int64_t>(members_.size());
  plan->buffer = at::empty({members * plan->stride}, at::TensorOptions(at::kByte).device(device()));
  plan->streams.clear();
  plan->schedules.clear();
  for (int64_t i = 0; i < members; ++i) {
    const at::Tensor own = plan->buffer.narrow(0, i * plan->stride, plan->stride);
    plan->streams.push_back(lists[static_cast<size_t>(i)]->Over(plan->capacities, own));
    plan->schedules.push_back(own.narrow(0, bytes, kScheduleBytes).view(at::kFloat));
  }
}

StepGraphs::Prepared StepGraphs::Prepare(const Wanted& wanted) {
  Prepared prepared;
  for (const data::PackedBatch* batch : wanted.batches) prepared.batches.push_back(*batch);
  prepared.steps = wanted.steps;
  prepared.plan = PlanFor(wanted.batches);
  Plan* plan = prepared.plan;
  const Lists lists = ListsOf(wanted, plan->shape);
  // The first batches of their shape may not fit, or some with more tiles than those before.
  if (!std::all_of(lists.begin(), lists.end(),
                   [&](const auto& list) { return FitInto(list->Sizes(), plan->capacities); })) {
    MakeRoom(lists, plan);
  }
  // The buffer filled before last: its copy to the device is over, since losses after it have come.
  staging_ ^= 1;
  at::Tensor& staged = staged_[staging_];
  if (!staged.defined() || staged.numel() < plan->buffer.numel()) {
    staged = HostBytes(plan->buffer.numel() * 5 / 4, device());
  }
  prepared.bytes = staged.narrow(0, 0, plan->buffer.numel());
  const int64_t bytes = lists[0]->Bytes(plan->capacities);
  for (size_t i = 0; i < lists.size(); ++i) {
    const int64_t start = static_cast<int64_t>(i) * plan->stride;
    lists[i]->Write(plan->capacities, prepared.bytes.narrow(0, start, bytes).data_ptr());
    prepared.schedules.push_back(start + bytes);
  }
  return prepared;
}

bool StepGraphs::IsReady(const Wanted& wanted) const {
  if (ready_ == nullptr || ready_->steps != wanted.steps) return false;
  for (size_t i = 0; i < members_.size(); ++i) {
    if (!SameBatch(ready_->batches[i], *wanted.batches[i])) return false;
  }
  return true;
}

std::vector<model::Losses> StepGraphs::Run(const std::vector<StepInput>& inputs) {
  CHECK_EQ(inputs.size(), members_.size());
  Wanted wanted, next;
  for (const StepInput& input : inputs) {
    wanted.batches.push_back(input.batch);
    wanted.steps.push_back(input.step);
    if (input.next == nullptr) continue;
    next.batches.push_back(input.next);
    next.steps.push_back(input.step + 1);
  }
  if (!IsReady(wanted)) ready_ = std::make_unique<Prepared>(Prepare(wanted));
  const Prepared& now = *ready_;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto schedule = tensor::ScheduleOf(members_[i].options.optimizer, inputs[i].learning_rate,
                                             inputs[i].step + 1);
    std::memcpy(static_cast<char*>(now.bytes.data_ptr()) + now.schedules[i], schedule.data(),
                sizeof(schedule));
  }
  now.plan->buffer.copy_(now.bytes, /*non_blocking=*/true);
  Launch(now.plan);
  host_losses_.copy_(now.plan->losses, /*non_blocking=*/true);
  if (next.batches.size() == members_.size()) {
    ready_ = std::make_unique<Prepared>(Prepare(next));
  } else {
    ready_.reset();
  }
#ifdef MIXREC_CUDA
  if (device().is_cuda()) at::cuda::getCurrentCUDAStream().synchronize();
#endif
  std::vector<model::Losses> losses;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const float* values = host_losses_.data_ptr<float>() + i * ResidentStep::kLosses;
    losses.push_back({values[ResidentStep::kSequence], values[ResidentStep::kAlignment],
                      values[ResidentStep::kContrastive], values[ResidentStep::kCf],
                      values[ResidentStep::kTotal]});
  }
  return losses;
}

// The first step of a shape is launched as it is, which loads kernels and chooses algorithms; the
// second one is captured first.
void StepGraphs::Launch(Plan* plan) {
#ifdef MIXREC_CUDA
  if (plan->graph == nullptr && graph_options_.capture && plan->uses > 0 &&
      captured_ < graph_options_.most_graphs && device().is_cuda()) {
    Capture(plan);
  }
  if (plan->graph != nullptr && graph_options_.capture) return plan->graph->replay();
#endif
  ++plan->uses;
  plan->losses = step_.Run(plan->streams, plan->schedules);
}

#ifdef MIXREC_CUDA
void StepGraphs::Capture(Plan* plan) {
  at::cuda::getCurrentCUDAStream().synchronize();
  auto graph = std::make_unique<at::cuda::CUDAGraph>();
  // Graphs run one after another, so all of them use the same memory.
  at::cuda::MempoolId_t pool{0, 0};
  for (const auto& other : plans_) {
    if (other->graph != nullptr) pool = other->graph->pool();
  }
  {
    // The default stream cannot be captured. Streams of the pool may be other threads' own.
    const auto current = at::cuda::getCurrentCUDAStream();
    const bool own = current != at::cuda::getDefaultCUDAStream();
    const c10::cuda::CUDAStreamGuard guard(own ? current : at::cuda::getStreamFromPool());
    graph->capture_begin(pool, cudaStreamCaptureModeThreadLocal);
    plan->losses = step_.Run(plan->streams, plan->schedules);
    graph->capture_end();
  }
  plan->graph = std::move(graph);
  ++captured_;
  // Steps before the first capture left blocks that no captured step will use.
  c10::cuda::CUDACachingAllocator::emptyCache();
}
#endif

}  // namespace mixrec::worker
