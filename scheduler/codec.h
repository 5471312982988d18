// Bytes of the protocol: a Cap'n Proto envelope (scheduler/protocol.capnp), no frames.
#pragma once

#include "common/status.h"
#include "net/actor.h"
#include "scheduler/protocol.h"

namespace mixrec::scheduler {

net::Message Encode(const Body& body);

// Checks magic, version, and that every number and text is one that an honest peer may send: finite
// scores, known kinds, names that are good file names. Never throws; DataError says what is wrong.
absl::StatusOr<Body> Decode(const net::Message& message);

// Whether a group may have the name: letters, digits, '.', '_' and '-', no '.' at its start, 1 to
// 100 characters. It names a folder.
bool IsGroupName(const std::string& name);

}  // namespace mixrec::scheduler
