// Flags of `mixrec mine`, of mined hard samples and of distillation.
#include <gflags/gflags.h>

DEFINE_string(hard_samples, "",
              "File of hard samples that `mixrec mine` wrote, the negatives of the contrastive "
              "loss; empty: random items that never co-occur");
DEFINE_string(bert, "",
              "Folder of a BertModel in the Hugging Face layout (config.json, vocab.txt, weights)");
DEFINE_int64(bert_tokens, 128, "Tokens of a text that BERT reads, [CLS] and [SEP] included");
DEFINE_int64(mf_dim, 1000, "Dimensions of the matrix factorisation");
DEFINE_int64(mf_iterations, 6, "Subspace iterations of the matrix factorisation");
DEFINE_double(top_fraction, 0.005,
              "Share of the items that are an item's nearest in text space, and likewise in the "
              "space of the matrix factorisation");
DEFINE_int64(max_neighbours, 0,
             "At most so many nearest items in each space, whatever --top_fraction says; 0 for no "
             "limit");
DEFINE_string(vectors_out, "",
              "File to write for distillation: BERT vectors of the items' texts and BERT's word "
              "vectors, in fp16");
DEFINE_string(description_field, "description",
              "Column of *.item that is added to an item's sentence for --vectors_out, whose "
              "vectors are the mean of both forms; empty for none");
DEFINE_string(text_fields, "",
              "Columns of *.item whose text the language model learns, when they are not those of "
              "an item's sentence; distilled are the sentences");
DEFINE_string(extra_text, "",
              "Files with one more text a line, separated by commas, for --vectors_out and "
              "pre-training");
DEFINE_int64(
    description_pieces, 0,
    "Pieces of at most 22 words of an item's --description_field that become texts of their "
    "own, as those of --extra_text do; at most so many an item");

DEFINE_string(distill, "",
              "Distil a BERT sentence encoder while pre-training: the file that `mixrec mine "
              "--vectors_out` wrote, or the encoder's folder; empty for the language model alone");
DEFINE_bool(distill_words, true,
            "Start the word vectors at the encoder's; needs its width as --hidden");
DEFINE_int64(distill_sequences, 96, "Sequences of texts with [SEQ] that a step distils");
DEFINE_int64(distill_texts, 3, "Texts of such a sequence");
DEFINE_double(distill_weight, 4, "Weight of 1 - cosine to the encoder's vector");
DEFINE_double(distill_contrast, 1,
              "Weight of finding the encoder's vector among those of the step");
DEFINE_double(distill_temperature, 0.07, "Temperature of that search");
DEFINE_double(offset_probability, 0.5,
              "Probability that a training sequence starts at a random position, so that positions "
              "beyond --context are trained too");
