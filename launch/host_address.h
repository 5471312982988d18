// Where other hosts reach this one.
#pragma once

#include <string>

namespace mixrec::launch {

// A numeric IPv4 address of this host for a socket to listen on (ZeroMQ listens on no names): what
// the host's name stands for, unless that is a loopback address, as on many Debian machines; else
// that of the first network interface which is up; else 127.0.0.1.
std::string NetworkAddress();

}  // namespace mixrec::launch
