// Private to model/: a PackedBatch on the model's device, with everything the layers index by.
#pragma once

#include <ATen/ATen.h>

#include "data/packed_batch.h"
#include "model/kernels.h"
#include "model/mixrec_model.h"
#include "model/options.h"

namespace mixrec::model {

// T stream rows, R rows read ([SEQ] rows, then [ALIGN] rows; ascending).
struct Stream {
  int64_t rows = 0;
  int64_t sequence_reads = 0, alignment_reads = 0;
  at::Tensor words;          // [T] int64, special tokens as 0
  at::Tensor position_rows;  // [T] int64, row of the position table (position + 2)
  at::Tensor sequence_token_rows, alignment_token_rows;  // [.] int64: rows that hold [SEQ], [ALIGN]
  at::Tensor special_rows;                               // both, ascending
  at::Tensor read_rows;                                  // [R] int64
  AttentionLayout all;                                   // every row is a query
  AttentionLayout read;                                  // only the rows read are queries
  at::Tensor all_keys, read_keys;  // dropout keys of the rows, [T], [R] int64; undefined without
  int64_t user_columns = 0, item_columns = 0;
};

Stream MakeStream(const data::PackedBatch& batch, int64_t vocab_size, const ModelOptions& options,
                  DropoutKey dropout, bool training, at::Device device);

}  // namespace mixrec::model
