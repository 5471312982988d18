// What a shard process does: several shards, each with a socket, a thread and rows of its own.
#pragma once

#include "common/status.h"
#include "net/zmq_transport.h"
#include "ps/shard.h"

namespace mixrec::launch {

// Serves until the process is told to stop, or no shard has anything left to do. The process is the
// unit of failure: when one of them cannot go on, all end. `shard.endpoint` is filled in.
absl::Status ServeShards(const net::ZmqOptions& transport, const ps::ShardOptions& shard,
                         int sockets);

}  // namespace mixrec::launch
