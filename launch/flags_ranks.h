// Flags of the commands that many processes run together.
#pragma once

#include <gflags/gflags_declare.h>

DECLARE_double(rank_deadline);
DECLARE_string(network);
DECLARE_int64(log_steps);
DECLARE_int64(checkpoint_steps);
DECLARE_double(checkpoint_minutes);
