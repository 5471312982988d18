// The flags of `mixrec ps` (launch/flags_ps.cc).
#pragma once

#include <gflags/gflags_declare.h>

DECLARE_string(listen);
DECLARE_int64(shards);
DECLARE_int64(sockets);
DECLARE_int64(replicas);
DECLARE_string(key_file);
DECLARE_bool(insecure);
DECLARE_string(state);
DECLARE_string(join);
DECLARE_int64(spawn);
DECLARE_double(heartbeat_seconds);
DECLARE_double(dead_seconds);
DECLARE_double(orphan_seconds);

// Between a parent and its shard processes.
DECLARE_string(authority);
DECLARE_int64(incarnation);
DECLARE_int64(parent);
DECLARE_int64(gpu);
