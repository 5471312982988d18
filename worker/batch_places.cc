#include "worker/batch_places.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "tensor/device_step.h"

namespace mixrec::worker {
namespace {

// Rows of a place are at most kMostPadding * rows + kFreePadding of a batch that uses it.
constexpr double kMostPadding = 1.04, kFreePadding = 128;
constexpr int64_t kAlignment = 256;  // bytes; of a member's part of a buffer
constexpr int64_t kScheduleBytes = tensor::kScheduleSize * static_cast<int64_t>(sizeof(float));

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

BatchPlace* BatchPlaces::PlaceFor(const std::vector<const data::PackedBatch*>& batches) {
  std::vector<data::BatchShape> shapes;
  for (const data::PackedBatch* batch : batches) shapes.push_back(data::ShapeOf(*batch));
  int64_t rows = 0;
  for (const data::BatchShape& shape : shapes) {
    largest_ = Largest(largest_, shape);
    rows = std::max(rows, shape.rows);
  }
  const int32_t prompt_tokens = batches[0]->prompt_tokens;
  const int32_t negatives = batches[0]->negatives_per_query;
  BatchPlace* best = nullptr;
  for (const auto& place : places_) {
    const bool fits = std::all_of(shapes.begin(), shapes.end(), [&](const data::BatchShape& shape) {
      return shape.FitsInto(place->shape);
    });
    if (place->prompt_tokens != prompt_tokens || place->negatives != negatives || !fits ||
        static_cast<double>(place->shape.rows) >
            kMostPadding * static_cast<double>(rows) + kFreePadding) {
      continue;
    }
    if (best == nullptr || place->shape.rows < best->shape.rows) best = place.get();
  }
  if (best != nullptr) return best;
  auto place = std::make_unique<BatchPlace>();
  data::BatchShape wanted = largest_;
  const int64_t reads = data::RoundUp(largest_).reads;
  for (const data::BatchShape& shape : shapes) {
    wanted.rows = std::max(wanted.rows, shape.rows + (reads - shape.reads));
  }
  place->shape = data::RoundUp(wanted);
  place->prompt_tokens = prompt_tokens;
  place->negatives = negatives;
  places_.push_back(std::move(place));
  return places_.back().get();
}

BatchPlaces::Lists BatchPlaces::ListsOf(const StagedInputs& inputs,
                                        const data::BatchShape& shape) const {
  Lists lists;
  for (size_t i = 0; i < members_.size(); ++i) {
    const StepMember& member = members_[i];
    for (size_t j = 0; j < i && lists.size() == i; ++j) {
      if (inputs.steps[i] == inputs.steps[j] && SameLists(member, members_[j]) &&
          SameBatch(*inputs.batches[i], *inputs.batches[j])) {
        lists.push_back(lists[j]);
      }
    }
    if (lists.size() > i) continue;
    lists.push_back(std::make_shared<const model::StreamLists>(
        data::PadBatch(*inputs.batches[i], shape), member.state->backbone().config.vocab_size,
        member.state->options(), model::DropoutKey{member.options.dropout_seed, inputs.steps[i]},
        /*training=*/true));
  }
  return lists;
}

void BatchPlaces::MakeRoom(const Lists& lists, BatchPlace* place) const {
  ++place->moves;
  place->capacities = lists[0]->RoomySizes();
  for (const auto& list : lists) {
    const std::vector<int64_t> sizes = list->RoomySizes();
    for (size_t i = 0; i < sizes.size(); ++i) {
      place->capacities[i] = std::max(place->capacities[i], sizes[i]);
    }
  }
  const int64_t bytes = lists[0]->Bytes(place->capacities);
  place->stride = (bytes + kScheduleBytes + kAlignment - 1) / kAlignment * kAlignment;
  const auto members = static_cast<int64_t>(members_.size());
  place->buffer =
      at::empty({members * place->stride}, at::TensorOptions(at::kByte).device(device()));
  place->streams.clear();
  place->schedules.clear();
  for (int64_t i = 0; i < members; ++i) {
    const at::Tensor own = place->buffer.narrow(0, i * place->stride, place->stride);
    place->streams.push_back(lists[static_cast<size_t>(i)]->Over(place->capacities, own));
    place->schedules.push_back(own.narrow(0, bytes, kScheduleBytes).view(at::kFloat));
  }
}

// In the buffer filled before last: its copy to the device is over, since the host has seen the end
// of a step after it.
at::Tensor BatchPlaces::HostRoom(int64_t bytes) {
  staging_ ^= 1;
  at::Tensor& staged = staged_[staging_];
  if (!staged.defined() || staged.numel() < bytes) {
    staged = at::empty({bytes * 5 / 4},
                       at::TensorOptions().dtype(at::kByte).pinned_memory(device().is_cuda()));
  }
  return staged.narrow(0, 0, bytes);
}

const BatchPlaces::Staged& BatchPlaces::Prepare(const StagedInputs& next) {
  CHECK(next.batches.size() == members_.size() && next.steps.size() == members_.size());
  auto staged = std::make_unique<Staged>();
  for (const data::PackedBatch* batch : next.batches) staged->batches.push_back(*batch);
  staged->steps = next.steps;
  BatchPlace* place = PlaceFor(next.batches);
  staged->place = place;
  const Lists lists = ListsOf(next, place->shape);
  // The first batches of their shape may not fit, or some with more tiles than those before.
  if (!std::all_of(lists.begin(), lists.end(),
                   [&](const auto& list) { return FitInto(list->Sizes(), place->capacities); })) {
    MakeRoom(lists, place);
  }
  staged->bytes = HostRoom(place->buffer.numel());
  const int64_t bytes = lists[0]->Bytes(place->capacities);
  for (size_t i = 0; i < lists.size(); ++i) {
    const int64_t start = static_cast<int64_t>(i) * place->stride;
    lists[i]->Write(place->capacities, staged->bytes.narrow(0, start, bytes).data_ptr());
    staged->schedules.push_back(start + bytes);
  }
  ready_ = std::move(staged);
  return *ready_;
}

bool BatchPlaces::IsReady(const StagedInputs& inputs) const {
  if (ready_ == nullptr || ready_->steps != inputs.steps) return false;
  for (size_t i = 0; i < members_.size(); ++i) {
    if (!SameBatch(ready_->batches[i], *inputs.batches[i])) return false;
  }
  return true;
}

const BatchPlaces::Staged& BatchPlaces::Take(const StagedInputs& inputs) {
  return IsReady(inputs) ? *ready_ : Prepare(inputs);
}

}  // namespace mixrec::worker
