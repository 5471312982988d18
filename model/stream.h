// A step's batch on the model's device, with everything that layers and losses index by. Built on
// the host as lists (StreamLists), which lie one after another in one buffer: one copy brings a
// batch to a GPU, and a captured step finds the next batch where the last one lay.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "data/packed_batch.h"
#include "model/kernels.h"
#include "model/options.h"

namespace mixrec::model {

// What dropout needs to be the same wherever a document is computed (model.md D26).
struct DropoutKey {
  uint64_t seed = 0;
  int64_t step = 0;
};

// T stream rows, R rows read ([SEQ] rows, then [ALIGN] rows; ascending), S rows that hold [SEQ] or
// [ALIGN]; Q contrastive queries, n negatives of each; B BPR pairs. Index tensors are int64.
struct Stream {
  int64_t rows = 0;
  int64_t sequence_reads = 0, alignment_reads = 0;
  at::Tensor words;                                  // [T] special tokens as 0
  at::Tensor position_rows;                          // [T] row of the position table (position + 2)
  at::Tensor special_rows;                           // [S] ascending; padding repeats the last
  at::Tensor special_kinds;                          // [S] 0: [SEQ], 1: [ALIGN]
  at::Tensor sequence_specials, alignment_specials;  // [S] fp32: 1 where it is [SEQ], [ALIGN]
  at::Tensor read_rows;                              // [R]
  AttentionLayout all;                               // every row is a query
  AttentionLayout read;                              // only the rows read are queries
  at::Tensor all_keys, read_keys;  // dropout keys of the rows, [T], [R]; undefined without
  int64_t user_columns = 0, item_columns = 0;

  at::Tensor labels;                                // [R] items
  at::Tensor sequence_weights, alignment_weights;   // [R] fp32, 0 for reads of the other kind
  int64_t negatives = 0;                            // n
  at::Tensor cl_query, cl_candidates;               // [Q], [Q, 1 + n] reads; candidate 0: positive
  at::Tensor cl_weights;                            // [Q] fp32
  at::Tensor bpr_user, bpr_positive, bpr_negative;  // [B] index into user_ids, item_ids
  at::Tensor bpr_weights;                           // [B] fp32
  at::Tensor user_ids, item_ids;                    // rows of the tables; padding -1
};

// The lists of one batch on the host.
class StreamLists {
 public:
  // `training`: dropout keys where the model drops.
  StreamLists(const data::PackedBatch& batch, int64_t vocab_size, const ModelOptions& options,
              DropoutKey dropout, bool training);
  StreamLists(StreamLists&&) noexcept;
  StreamLists& operator=(StreamLists&&) noexcept;
  ~StreamLists();

  // Numbers of elements of all lists, in a fixed order.
  std::vector<int64_t> Sizes() const;
  // The same with room for batches of the same shape (data/pad.h): they differ in how their rows
  // are cut into documents, groups and tiles.
  std::vector<int64_t> RoomySizes() const;
  // Bytes of a buffer for lists of these sizes.
  int64_t Bytes(const std::vector<int64_t>& capacities) const;
  // Fills host memory. A list may be longer in the buffer than it is: padding that means nothing
  // follows it.
  void Write(const std::vector<int64_t>& capacities, void* buffer) const;
  // The stream over a buffer that Write has filled, or will: views of it.
  Stream Over(const std::vector<int64_t>& capacities, const at::Tensor& buffer) const;

 private:
  struct Lists;
  std::unique_ptr<Lists> lists_;
};

// The batch on the device, in one copy.
Stream MakeStream(const data::PackedBatch& batch, int64_t vocab_size, const ModelOptions& options,
                  DropoutKey dropout, bool training, at::Device device);

}  // namespace mixrec::model
