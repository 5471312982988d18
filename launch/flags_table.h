// The flags of `mixrec table` (launch/flags_table.cc).
#pragma once

#include <gflags/gflags_declare.h>

DECLARE_string(systems);
DECLARE_string(variations);
DECLARE_int64(jobs);
DECLARE_string(devices);
DECLARE_string(study);
