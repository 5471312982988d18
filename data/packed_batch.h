// One step's input, packed: no padding, one stream of tokens (paper Sec. 2.2, 2.3).
#pragma once

#include <cstdint>
#include <vector>

namespace mixrec::data {

// What a document is; together with `id` it keys the document's dropout, wherever it is computed.
enum class DocumentKind : int32_t { kPrompt = 0, kSequence = 1, kAlignment = 2 };

// A stretch of stream rows that attends causally to itself. An alignment document also sees all
// rows of the prompt, which stands at the head of the stream once a step.
struct Document {
  int32_t begin = 0, end = 0;  // stream rows
  DocumentKind kind = DocumentKind::kSequence;
  int32_t id = 0;  // user of a sequence, item of an alignment document, 0 for the prompt
};

// The rows of one item (its tokens and its [SEQ] or [ALIGN]) or of the prompt: what a token sees
// under the context mask, together with the group's columns.
struct Group {
  int32_t begin = 0, end = 0;  // stream rows
  int32_t user_column = -1;    // index into user_ids, -1 for none
  int32_t item_column = -1;    // index into item_ids, -1 for none
};

// What every rank knows of a step whose users are shared out among ranks (step_share.h).
struct WholeStep {
  std::vector<int32_t> sequence_reads, alignment_reads;  // [ranks] rows read on each
  std::vector<int32_t> user_ids, item_ids;               // of all ranks' batches, ascending
  int64_t counted_tokens = 0;                            // a document that two ranks hold: once
};

// T stream rows; P [SEQ] rows read; A alignment documents; C contrastive queries; B BPR pairs.
//
// Stream order: prompt (only when there are alignment documents), sequences, alignment documents
// (item tokens, [ALIGN]; positions go on after the prompt's). Every row belongs to exactly one
// document and one group. Loss weights hold the *global* denominators (model.md D25, D26): a loss
// is the sum of weight * value over its rows.
struct PackedBatch {
  int32_t prompt_tokens = 0;
  std::vector<int32_t> tokens;     // [T]; vocab_size is [SEQ], vocab_size + 1 is [ALIGN]
  std::vector<int32_t> positions;  // [T], from 0 in each document
  std::vector<Document> documents;
  std::vector<Group> groups;

  // Rows of the user and item tables that the step needs, without repetition. The first
  // `user_columns` / `item_columns` of them are injected as columns; the others serve BPR only.
  std::vector<int32_t> user_ids, item_ids;
  int32_t user_columns = 0, item_columns = 0;

  std::vector<int32_t> sequence_rows;    // [P] stream rows
  std::vector<int32_t> alignment_rows;   // [A] stream rows
  std::vector<int32_t> targets;          // [P] items
  std::vector<float> sequence_weights;   // [P]
  std::vector<int32_t> alignment_items;  // [A] items
  std::vector<float> alignment_weights;  // [A]

  int32_t negatives_per_query = 0;
  std::vector<int32_t> cl_query;     // [C] index into sequence_rows
  std::vector<int32_t> cl_positive;  // [C] index into alignment_rows
  std::vector<int32_t> cl_negative;  // [C * negatives_per_query] index into alignment_rows
  std::vector<float> cl_weights;     // [C]

  std::vector<int32_t> bpr_user, bpr_positive, bpr_negative;  // [B] index into user_ids / item_ids
  std::vector<float> bpr_weights;                             // [B]

  WholeStep whole;  // of BuildSharedBatch; empty otherwise

  // Tokens as figures count them (model.md F): unshared, every alignment document with its prompt.
  int64_t counted_tokens() const {
    const int64_t alignments = static_cast<int64_t>(alignment_rows.size());
    return static_cast<int64_t>(tokens.size()) + (alignments - (alignments > 0)) * prompt_tokens;
  }
};

}  // namespace mixrec::data
