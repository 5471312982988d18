// The flags of what shows a study (launch/flags_status.cc).
#pragma once

#include <gflags/gflags_declare.h>

DECLARE_bool(replay);
DECLARE_bool(json);
DECLARE_string(http);
