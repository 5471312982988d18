// The flags of CF models that are trained beforehand (launch/flags_cf.cc).
#pragma once

#include <gflags/gflags_declare.h>

DECLARE_string(cf_training);
DECLARE_string(cf);
