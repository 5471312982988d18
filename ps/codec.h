// Bytes of the protocol: a Cap'n Proto envelope (ps/protocol.capnp) and raw tensor frames.
#pragma once

#include "common/status.h"
#include "net/actor.h"
#include "ps/protocol.h"

namespace mixrec::ps {

// Buffers travel as frames without being copied.
net::Message Encode(const Wire& wire);

// Checks magic, protocol version and every size against its frame (ids divide into int32, states
// into [N, D], offsets ascend within bounds, ...), so that whoever gets the result may index by it.
// What it cannot know, a table's rows and width, the shard checks. Frames are shared, not copied.
// Never throws; DataError says what is wrong.
absl::StatusOr<Wire> Decode(const net::Message& message);

}  // namespace mixrec::ps
