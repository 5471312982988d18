// Private to worker/: padded batches and where they lie on the device. Batches are padded to a few
// shapes (data/pad.h), each of which has a buffer of its own there, so that what was captured for a
// shape finds every batch of it in the same place. One copy brings a batch there.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "data/packed_batch.h"
#include "data/pad.h"
#include "model/stream.h"
#include "worker/resident_step.h"

namespace mixrec::worker {

// Room on the device for batches of one shape, one of every member.
struct BatchPlace {
  data::BatchShape shape;
  int32_t prompt_tokens = 0, negatives = 0;
  std::vector<int64_t> capacities;  // of a stream's lists; empty until the first batch
  int64_t stride = 0;               // bytes of a member: the lists, then the schedule
  at::Tensor buffer;                // on the device, of all members
  std::vector<model::Stream> streams;
  std::vector<at::Tensor> schedules;  // tensor/device_step.h's
  int64_t moves = 0;                  // how often the room was made anew
};

// What a step needs, or will need.
struct StagedInputs {
  std::vector<const data::PackedBatch*> batches;  // of every member
  std::vector<int64_t> steps;
};

// Works on a CPU, too.
class BatchPlaces {
 public:
  explicit BatchPlaces(std::vector<StepMember> members) : members_(std::move(members)) {}

  // Batches in host memory, ready to be copied to their place.
  struct Staged {
    std::vector<data::PackedBatch> batches;  // as they came
    std::vector<int64_t> steps;
    BatchPlace* place = nullptr;
    at::Tensor bytes;                // the lists, and room for the schedules
    std::vector<int64_t> schedules;  // where those are
  };
  // Whether these are what was made ready last.
  bool IsReady(const StagedInputs& inputs) const;
  // Makes them ready unless they are.
  const Staged& Take(const StagedInputs& inputs);
  // Those of the next step, while this one runs; its host must have seen the end of the step before
  // this one.
  const Staged& Prepare(const StagedInputs& next);
  void DropPrepared() { ready_.reset(); }

  int64_t shapes() const { return static_cast<int64_t>(places_.size()); }

 private:
  BatchPlace* PlaceFor(const std::vector<const data::PackedBatch*>& batches);
  // Of every member; the same where batch and step are the same.
  using Lists = std::vector<std::shared_ptr<const model::StreamLists>>;
  Lists ListsOf(const StagedInputs& inputs, const data::BatchShape& shape) const;
  void MakeRoom(const Lists& lists, BatchPlace* place) const;
  at::Tensor HostRoom(int64_t bytes);
  at::Device device() const { return members_[0].state->device(); }

  const std::vector<StepMember> members_;
  data::BatchShape largest_;  // of everything but rows, so far
  std::vector<std::unique_ptr<BatchPlace>> places_;
  std::unique_ptr<Staged> ready_;
  int staging_ = 0;  // which of the two host buffers was filled last
  at::Tensor staged_[2];
};

}  // namespace mixrec::worker
