// The flags of `mixrec prepare` and of raw files (launch/flags_prepare.cc).
#pragma once

#include <gflags/gflags_declare.h>

DECLARE_string(reviews);
DECLARE_string(meta);
DECLARE_string(name);
DECLARE_int64(k_core);
DECLARE_int64(min_user_interactions);
DECLARE_double(max_broken);
DECLARE_bool(raw);
