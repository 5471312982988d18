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

constexpr double kMostPadding = 1.06;  // rows of a plan over rows of a batch that uses it

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
  std::vector<int64_t> capacities;  // of the stream's lists; empty until the first batch
  at::Tensor buffer;                // on the device: the lists, then the schedule
  model::Stream stream;
  at::Tensor schedule, losses;
  int64_t uses = 0;
#ifdef MIXREC_CUDA
  std::unique_ptr<at::cuda::CUDAGraph> graph;
#endif
};

// A batch in host memory, ready to be copied to its plan's place.
struct StepGraphs::Prepared {
  data::PackedBatch batch;  // as it came
  int64_t step = 0;
  Plan* plan = nullptr;
  at::Tensor bytes;  // the lists, and room for the schedule
};

StepGraphs::StepGraphs(const StepOptions& options, const StepGraphOptions& graphs,
                       ModelState* state, DenseOptimizer* optimizer)
    : options_(options),
      graph_options_(graphs),
      state_(state),
      step_(options, state, optimizer),
      host_losses_(at::empty(
          {ResidentStep::kLosses},
          at::TensorOptions().dtype(at::kFloat).pinned_memory(state->device().is_cuda()))) {}

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

StepGraphs::Plan* StepGraphs::PlanFor(const data::PackedBatch& batch) {
  const data::BatchShape shape = data::ShapeOf(batch);
  largest_ = Largest(largest_, shape);
  Plan* best = nullptr;
  for (const auto& plan : plans_) {
    if (plan->prompt_tokens != batch.prompt_tokens ||
        plan->negatives != batch.negatives_per_query || !shape.FitsInto(plan->shape) ||
        static_cast<double>(plan->shape.rows) >
            kMostPadding * static_cast<double>(shape.rows) + 256.0) {
      continue;
    }
    if (best == nullptr || plan->shape.rows < best->shape.rows) best = plan.get();
  }
  if (best != nullptr) return best;
  auto plan = std::make_unique<Plan>();
  data::BatchShape wanted = largest_;
  wanted.rows = shape.rows + (data::RoundUp(largest_).reads - shape.reads);
  plan->shape = data::RoundUp(wanted);
  plan->prompt_tokens = batch.prompt_tokens;
  plan->negatives = batch.negatives_per_query;
  plans_.push_back(std::move(plan));
  return plans_.back().get();
}

StepGraphs::Prepared StepGraphs::Prepare(const data::PackedBatch& batch, int64_t step) {
  Prepared prepared;
  prepared.batch = batch;
  prepared.step = step;
  prepared.plan = PlanFor(batch);
  Plan* plan = prepared.plan;
  const model::StreamLists lists(data::PadBatch(batch, plan->shape),
                                 state_->backbone().config.vocab_size, state_->options(),
                                 {options_.dropout_seed, step}, /*training=*/true);
  const std::vector<int64_t> sizes = lists.Sizes();
  const bool fits = plan->capacities.size() == sizes.size() &&
                    std::equal(sizes.begin(), sizes.end(), plan->capacities.begin(),
                               [](int64_t size, int64_t capacity) { return size <= capacity; });
  if (!fits) {  // the first batch of its shape, or one with more tiles than those before
#ifdef MIXREC_CUDA
    if (plan->graph != nullptr) {
      at::cuda::getCurrentCUDAStream().synchronize();  // it may be running
      plan->graph.reset();
      --captured_;
    }
#endif
    plan->uses = 0;
    plan->capacities = lists.RoomySizes();
    const int64_t bytes = lists.Bytes(plan->capacities);
    const int64_t with_schedule =
        bytes + tensor::kScheduleSize * static_cast<int64_t>(sizeof(float));
    plan->buffer =
        at::empty({with_schedule}, at::TensorOptions(at::kByte).device(state_->device()));
    plan->stream = lists.Over(plan->capacities, plan->buffer);
    plan->schedule = plan->buffer.narrow(0, bytes, with_schedule - bytes).view(at::kFloat);
  }
  // The buffer filled before last: its copy to the device is over, since losses after it have come.
  staging_ ^= 1;
  at::Tensor& staged = staged_[staging_];
  if (!staged.defined() || staged.numel() < plan->buffer.numel()) {
    staged = HostBytes(plan->buffer.numel() * 5 / 4, state_->device());
  }
  prepared.bytes = staged.narrow(0, 0, plan->buffer.numel());
  lists.Write(plan->capacities, prepared.bytes.data_ptr());
  return prepared;
}

model::Losses StepGraphs::Run(const data::PackedBatch& batch, int64_t step, double learning_rate,
                              const data::PackedBatch* next) {
  if (ready_ == nullptr || ready_->step != step || !SameBatch(ready_->batch, batch)) {
    ready_ = std::make_unique<Prepared>(Prepare(batch, step));
  }
  const Prepared& now = *ready_;
  const auto schedule = tensor::ScheduleOf(options_.optimizer, learning_rate, step + 1);
  std::memcpy(static_cast<char*>(now.bytes.data_ptr()) + now.bytes.numel() - sizeof(schedule),
              schedule.data(), sizeof(schedule));
  now.plan->buffer.copy_(now.bytes, /*non_blocking=*/true);
  Launch(now.plan);
  host_losses_.copy_(now.plan->losses, /*non_blocking=*/true);
  if (next != nullptr) {
    ready_ = std::make_unique<Prepared>(Prepare(*next, step + 1));
  } else {
    ready_.reset();
  }
#ifdef MIXREC_CUDA
  if (state_->device().is_cuda()) at::cuda::getCurrentCUDAStream().synchronize();
#endif
  const float* values = host_losses_.data_ptr<float>();
  return {values[ResidentStep::kSequence], values[ResidentStep::kAlignment],
          values[ResidentStep::kContrastive], values[ResidentStep::kCf],
          values[ResidentStep::kTotal]};
}

// The first step of a shape is launched as it is, which loads kernels and chooses algorithms; the
// second one is captured first.
void StepGraphs::Launch(Plan* plan) {
#ifdef MIXREC_CUDA
  if (plan->graph == nullptr && graph_options_.capture && plan->uses > 0 &&
      captured_ < graph_options_.most_graphs && state_->device().is_cuda()) {
    Capture(plan);
  }
  if (plan->graph != nullptr && graph_options_.capture) return plan->graph->replay();
#endif
  ++plan->uses;
  plan->losses = step_.Run(plan->stream, plan->schedule);
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
    plan->losses = step_.Run(plan->stream, plan->schedule);
    graph->capture_end();
  }
  plan->graph = std::move(graph);
  ++captured_;
  // Steps before the first capture left blocks that no captured step will use.
  c10::cuda::CUDACachingAllocator::emptyCache();
}
#endif

}  // namespace mixrec::worker
