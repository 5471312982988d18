// The flags of searches with worker groups (launch/flags_search.cc).
#pragma once

#include <gflags/gflags_declare.h>

DECLARE_string(study);
DECLARE_string(scheduler);
DECLARE_string(group);
DECLARE_int64(slots);
DECLARE_int64(per_gpu);
DECLARE_int64(group_ranks);
DECLARE_double(sleep);
DECLARE_double(trial_seconds);
DECLARE_bool(cost);
DECLARE_double(lease_seconds);
DECLARE_int64(max_trial_retries);
DECLARE_double(drain_seconds);
DECLARE_double(scheduler_deadline);
DECLARE_string(early_stop);
DECLARE_string(warm_start);
DECLARE_string(space);
DECLARE_int64(replicate_top);
DECLARE_double(trial_memory_gib);
DECLARE_double(trial_tflop);
