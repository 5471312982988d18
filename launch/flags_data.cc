// Flags about the data: reading, filtering, and what `mixrec synth` writes.
#include <gflags/gflags.h>

DEFINE_string(data, "", "Folder with one *.inter and one *.item file (RecBole atomic files)");
DEFINE_string(item_fields, "title,brand,categories",
              "Columns of *.item that make an item's sentence, in this order");
DEFINE_string(title_field, "title", "Column of *.item that holds the title");
DEFINE_int64(min_item_interactions, 4, "Items with fewer interactions are dropped; 1 keeps all");
DEFINE_int64(max_items, 50, "Items of a history that the model reads, the last ones");
DEFINE_int64(max_item_tokens, 30, "Tokens of an item's sentence");
DEFINE_string(tokenizer, "",
              "Folder with vocab.json and merges.txt; empty: that of --backbone. For pretrain also "
              "train:SIZE, which trains a vocabulary of SIZE entries on the items' text");

DEFINE_int64(user_count, 1000, "Users to generate");
DEFINE_int64(item_count, 400, "Items to generate");
DEFINE_double(mean_length, 8, "Mean number of interactions of a generated user");
