// Where other hosts reach this one.
#pragma once

#include <string>

#include "common/status.h"

namespace mixrec::launch {

// A numeric IPv4 address of this host for a socket to listen on (ZeroMQ listens on no names): what
// the host's name stands for, unless that is a loopback address, as on many Debian machines; else
// that of the first network interface which is up; else 127.0.0.1.
std::string NetworkAddress();

// The address of this host that --network means: an interface's, the address itself, or the one in
// a network as 10.0.0.0/8. NetworkAddress() for an empty text; UsageError when there is none.
absl::StatusOr<std::string> AddressOn(const std::string& network);

}  // namespace mixrec::launch
