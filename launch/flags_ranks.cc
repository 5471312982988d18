// Flags of the commands that many processes run together, and of how often a training writes.
#include <gflags/gflags.h>

DEFINE_double(rank_deadline, 60,
              "Under mpirun: seconds after which a rank that does not come to what all do together "
              "is named, and the job ends");
DEFINE_string(network, "",
              "Where the servers of an mpirun over several hosts, or a scheduler, listen: an "
              "interface, an address of this host, or a network as 10.0.0.0/8; empty: what the "
              "host's name stands for");
DEFINE_int64(log_steps, 10, "A line in metrics.jsonl every so many steps");
DEFINE_int64(checkpoint_steps, 0,
             "A checkpoint every so many steps, besides those after the epochs; 0 for never");
DEFINE_double(checkpoint_minutes, 10,
              "A checkpoint at least so often, besides those after the epochs; 0 for never");
