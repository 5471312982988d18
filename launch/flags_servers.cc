// Flags of a worker that keeps its tables on a parameter server.
#include <gflags/gflags.h>

DEFINE_string(ps, "",
              "Parameter servers as host:port,host:port that hold the item projection and the CF "
              "tables (`mixrec ps`); empty: they are in this process");
DEFINE_string(ps_key_file, "",
              "File with the servers' key, for servers on a network; empty: no encryption");
DEFINE_double(ps_deadline, 60, "Seconds of silence of a server after which the run fails");
DEFINE_string(
    consistency, "bsp",
    "How workers see each other's updates on the servers: bsp (of every step before), ssp "
    "(at most --staleness steps behind) or asp (as they come)");
DEFINE_int64(staleness, 0,
             "Steps that a worker may be ahead of the slowest, with --consistency=ssp");
DEFINE_int64(sampled_softmax, 0,
             "Items drawn in every step to stand for all in the softmax, with --ps; 0: the exact "
             "softmax");
DEFINE_string(sampled_proposal, "uniform",
              "What --sampled_softmax draws from: uniform, or log_uniform by item index");
