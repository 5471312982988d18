// Flags of searches with worker groups, and of what is searched.
#include <gflags/gflags.h>

DEFINE_string(study, "",
              "Folder of the study; of `table`: of a finished one whose best architecture the "
              "searched systems get, empty to search into OUT/search first");
DEFINE_string(
    scheduler, "",
    "host:port of the scheduler; empty: what STUDY/scheduler.json says, again whenever it "
    "is silent");
DEFINE_string(group, "",
              "Name of this worker group, the same when it is started again; empty: host and "
              "process, or job array and task under Slurm");
DEFINE_int64(slots, 1, "Trials that a group trains side by side");
DEFINE_double(trial_seconds, 3, "Seconds that a trial of `bench search` takes, which it sleeps");
DEFINE_double(sleep, 0,
              "Internal, of groups of `bench search`: sleep so many seconds instead of a trial");
DEFINE_int64(per_gpu, 1,
             "Trials that each group's process trains side by side; on a GPU their steps share the "
             "products with the frozen weights");
DEFINE_int64(group_ranks, 1, "Processes of each group, under mpirun");
DEFINE_double(lease_seconds, 30, "Seconds of silence after which a group is lost");
DEFINE_int64(max_trial_retries, 2,
             "Failures and losses of a trial without a finished epoch in between after which it is "
             "not tried again");
DEFINE_double(drain_seconds, 25,
              "Seconds that a scheduler which is asked to stop waits for the trials that are out");
DEFINE_double(scheduler_deadline, 600,
              "Seconds without a word of the scheduler after which a group saves and ends");
DEFINE_string(
    early_stop, "none",
    "Which trials end before their last epoch: none, median (worse than the median of the "
    "complete ones at the same epoch) or asha (not among the best third at epochs 1, 3, "
    "9, ...)");
DEFINE_string(warm_start, "",
              "Folder of an earlier study, of any number of layers, whose results guide this one");
DEFINE_string(space, "",
              "File with what is searched besides the bits, a line each: `replace_every ordinal "
              "1,2,3` or `bottleneck log 16,32,64`");
DEFINE_int64(replicate_top, 0,
             "Of the best trials, to be trained once more with another seed at the end; the winner "
             "is the best mean");
DEFINE_double(trial_memory_gib, 0,
              "Memory that a trial may need by the estimate; what needs more is not tried. 0: no "
              "limit");
DEFINE_double(trial_tflop, 0,
              "Work that a trial may take by the estimate, in 10^12 floating point operations over "
              "all its epochs and validations; what takes more is not tried. 0: no limit");
