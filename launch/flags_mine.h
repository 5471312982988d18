// The flags of `mixrec mine`, of mined hard samples and of distillation (launch/flags_mine.cc).
#pragma once

#include <gflags/gflags_declare.h>

DECLARE_string(hard_samples);
DECLARE_string(bert);
DECLARE_int64(bert_tokens);
DECLARE_int64(mf_dim);
DECLARE_int64(mf_iterations);
DECLARE_double(top_fraction);
DECLARE_int64(max_neighbours);
DECLARE_string(vectors_out);
DECLARE_string(description_field);
DECLARE_string(text_fields);
DECLARE_string(extra_text);
DECLARE_int64(description_pieces);
DECLARE_string(distill);
DECLARE_bool(distill_words);
DECLARE_int64(distill_sequences);
DECLARE_int64(distill_texts);
DECLARE_double(distill_weight);
DECLARE_double(distill_contrast);
DECLARE_double(distill_temperature);
DECLARE_double(offset_probability);
