// Flags about optimisation. `mixrec pretrain` has defaults of its own (launch/verbs.cc).
#include <gflags/gflags.h>

DEFINE_int64(epochs, 40, "Passes over the training data; 0 keeps the initial weights");
DEFINE_int64(batch, 6, "Sequences of an optimiser step");
DEFINE_double(lr, 5e-5, "Peak learning rate");
DEFINE_double(warmup_fraction, 0.06, "Share of the steps with a rising learning rate");
DEFINE_double(weight_decay, 0.01, "Weight decay of AdamW");
DEFINE_double(clip_norm, 0, "Largest norm of the dense gradients; 0 for no clipping");
DEFINE_int64(n_s, 1, "Positions of a sequence that enter the contrastive loss");
DEFINE_int64(n_cl, 5, "Hard negatives of each of them");
