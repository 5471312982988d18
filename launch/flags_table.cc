// Flags of `mixrec table`, which trains and compares many systems.
#include <gflags/gflags.h>

DEFINE_string(systems, "named",
              "Systems to compare, separated by commas: a flag file of --variations by its name, "
              "the path of a flag file, or a group of --variations; NAME:N for N seeds");
DEFINE_string(variations, "configs/variations",
              "Folder of the systems' flag files NAME.flags and of the groups NAME.group");
DEFINE_int64(jobs, 1, "Runs at the same time, each a process of its own");
DEFINE_string(devices, "auto",
              "GPUs that the runs take in turn, as 0,1; auto: all there are; none: as they come");
