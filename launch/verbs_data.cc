// Commands that make data, backbones and hard samples.
#include "launch/verb_groups.h"

namespace mixrec::launch {
namespace {

Verb Synth() {
  return {"synth",
          "--out=DIR [--user_count=1000 --item_count=400]",
          "write a synthetic data set with brands, categories, drifting tastes and bundles",
          "Writes DIR/NAME.inter and DIR/NAME.item in RecBole's atomic format; the same flags give "
          "the same files.",
          {{"Data set", {"out", "user_count", "item_count", "mean_length", "raw", "seed"}},
           {"Machine", {"log_level"}}},
          {}};
}

Verb Prepare() {
  return {"prepare",
          "--reviews=X.json.gz --meta=meta_X.json.gz --out=DIR",
          "make a data set of Amazon's raw files; with --data, check and describe one",
          "Reads the 2018 files of a category as they are downloaded and writes DIR/NAME.inter and "
          "DIR/NAME.item in RecBole's atomic format. Broken lines are counted. "
          "`mixrec prepare --data=DIR` reads a data set as training would and prints what it is.",
          {{"Raw files", {"reviews", "meta", "max_broken"}},
           {"Filter", {"k_core", "min_item_interactions", "min_user_interactions"}},
           {"Output", {"out", "name"}},
           {"Check", {"data", "item_fields", "title_field"}},
           {"Machine", {"log_level"}}},
          {}};
}

Verb Pretrain() {
  return {"pretrain",
          "--data=DIR --tokenizer=train:4000 --out=DIR",
          "train a small OPT language model on the items' text, for want of a checkpoint",
          "Writes config.json, model.safetensors, vocab.json and merges.txt in the Hugging Face "
          "layout. A stopped pre-training goes on with the same command. --epochs=0 writes random "
          "weights, with --shape of a published size.",
          {{"Data",
            {"data", "tokenizer", "item_fields", "title_field", "min_item_interactions",
             "text_fields", "extra_text", "description_pieces"}},
           {"Language model", {"hidden", "layers", "heads", "ffn", "context", "shape", "dtype"}},
           {"Optimisation",
            {"epochs", "batch", "lr", "weight_decay", "clip_norm", "dropout", "offset_probability",
             "seed"}},
           {"Distillation",
            {"distill", "distill_words", "distill_sequences", "distill_texts", "distill_weight",
             "distill_contrast", "distill_temperature", "bert_tokens", "description_field"}},
           {"Run", {"out", "dry_run", "max_walltime", "stop_signal"}},
           MachineGroup()},
          {{"min_item_interactions", "1"},
           {"epochs", "20"},
           {"batch", "16"},
           {"lr", "0.001"},
           {"weight_decay", "0.1"},
           {"clip_norm", "1"},
           {"dropout", "0.1"}}};
}

Verb Mine() {
  return {"mine",
          "--data=DIR --bert=DIR --out=DIR",
          "find every item's hard samples, and vectors for distillation",
          "Hard samples are the nearest items by BERT's vectors and by matrix factorisation that "
          "never co-occur with the item. Writes DIR/hard_samples.bin for --hard_samples of train "
          "and search; a stopped mining goes on with the same command. --vectors_out=FILE writes "
          "what `mixrec pretrain --distill=FILE` needs instead of an encoder.",
          {{"Data",
            {"data", "item_fields", "title_field", "min_item_interactions", "description_field",
             "extra_text", "description_pieces"}},
           {"Mining",
            {"bert", "bert_tokens", "mf_dim", "mf_iterations", "top_fraction", "max_neighbours",
             "seed"}},
           {"Output", {"out", "vectors_out"}},
           MachineGroup()},
          {}};
}

}  // namespace

std::vector<Verb> DataVerbs() { return {Synth(), Prepare(), Pretrain(), Mine()}; }

}  // namespace mixrec::launch
