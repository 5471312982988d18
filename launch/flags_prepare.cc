// Flags of `mixrec prepare`, and of raw files.
#include <gflags/gflags.h>

DEFINE_string(reviews, "",
              "Amazon 2018 reviews of a category, CATEGORY.json.gz as downloaded (or plain text)");
DEFINE_string(meta, "", "Its items, meta_CATEGORY.json.gz");
DEFINE_string(name, "", "Name of the files written; empty: the last part of --out");
DEFINE_int64(k_core, 0,
             "Keep the largest part in which every user and every item has so many interactions; 0 "
             "for --min_item_interactions and --min_user_interactions, once");
DEFINE_int64(min_user_interactions, 1,
             "Users with fewer interactions left are dropped; training drops those below 3 anyway");
DEFINE_double(max_broken, 0.05, "Share of a file's lines that may be broken");
DEFINE_bool(raw, false, "Also write DIR/reviews.json.gz and DIR/meta.json.gz as Amazon's are");
