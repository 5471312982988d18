// Addresses as people write them, and as peers are named.
#pragma once

#include <string>
#include <string_view>

#include "common/status.h"

namespace mixrec::net {

// "host:port" or "tcp://host:port" to "tcp://host:port"; localhost is 127.0.0.1. UsageError when it
// is neither, or the port is not in [0, 65535]; port 0 means any free one and is only good to
// listen on.
absl::StatusOr<std::string> EndpointOf(std::string_view address);

// Whether only this machine can reach it: 127.x.y.z or [::1].
bool IsLoopback(std::string_view endpoint);

// Whether a peer's name is an endpoint, rather than an identity.
bool IsEndpoint(std::string_view peer);

}  // namespace mixrec::net
