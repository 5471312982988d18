// Flags of CF models that are trained beforehand.
#include <gflags/gflags.h>

DEFINE_string(
    cf_training, "joint",
    "How the collaborative filtering model learns: joint, with the rest, or frozen, as it "
    "is in --cf");
DEFINE_string(cf, "", "Folder that `mixrec train-cf` wrote, for --cf_training=frozen");
