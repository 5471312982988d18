// Flags about a run as such: where it writes, on what it runs, how it goes on.
#include <gflags/gflags.h>

DEFINE_string(out, "", "Folder to write to (made if missing)");
DEFINE_string(run, "", "Folder of a run that `mixrec train` wrote");
DEFINE_int64(seed, 1, "Seed of everything random");
DEFINE_string(device, "auto", "auto, cpu or cuda; auto takes a GPU when there is one");
DEFINE_string(precision, "auto",
              "auto, fp32 or bf16 for the frozen backbone and the activations; auto is fp32 on a "
              "CPU and bf16 on a GPU");
DEFINE_int64(threads, 0, "CPU threads; 0 for all cores");
DEFINE_string(log_level, "info",
              "Least severe messages that reach the terminal: info, warning or error (all of them "
              "go to RUN/logs)");
DEFINE_string(resume, "auto",
              "auto: continue what is in --out when its flags are the same; none: start afresh; "
              "or the folder of a checkpoint to start from");
DEFINE_string(resume_allow, "",
              "Names of flags, separated by commas, that may differ from the run being resumed");
DEFINE_bool(dry_run, false,
            "Print the resolved flags, the data's statistics, parameters, bytes and steps; do "
            "nothing else");
DEFINE_int64(simulate_preemption, 0,
             "Act as if SIGTERM came after this step: save, exit with code 75; 0 for never");
DEFINE_bool(tensorboard, true, "Write a TensorBoard event file into the run");
DEFINE_int64(keep_last, 1, "Checkpoints of the latest epochs to keep, besides the best one");
DEFINE_string(max_walltime, "",
              "Act as if SIGTERM came after this time: save, exit with code 75. As Slurm writes "
              "times: 90 (minutes), 1:30:00 or 2-12:00 (days); empty: never");
DEFINE_string(stop_signal, "USR1",
              "Signal that asks to save and to exit with code 75, besides INT and TERM: USR1, USR2 "
              "or HUP; internal of shard processes: USR2 alone");
