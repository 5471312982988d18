#include "net/endpoint.h"

#include <algorithm>
#include <charconv>

namespace mixrec::net {
namespace {

constexpr std::string_view kTcp = "tcp://";

bool StartsWith(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

// A host name, an IPv4 address, "*" or an IPv6 address in brackets.
bool IsHost(std::string_view host) {
  if (host == "*") return true;
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const std::string_view allowed = bracketed ? "0123456789abcdefABCDEF:.%" : ".-_";
  return !host.empty() && std::all_of(host.begin(), host.end(), [&](unsigned char c) {
    return allowed.find(static_cast<char>(c)) != std::string_view::npos ||
           (!bracketed && std::isalnum(c) != 0);
  });
}

bool IsPort(std::string_view port) {
  int value = -1;
  const auto parsed = std::from_chars(port.data(), port.data() + port.size(), value);
  return parsed.ec == std::errc() && parsed.ptr == port.data() + port.size() && value >= 0 &&
         value <= 65535;
}

}  // namespace

absl::StatusOr<std::string> EndpointOf(std::string_view address) {
  std::string_view rest = address;
  if (StartsWith(rest, kTcp)) rest.remove_prefix(kTcp.size());
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || !IsHost(rest.substr(0, colon)) ||
      !IsPort(rest.substr(colon + 1))) {
    return UsageError("\"", address, "\" is no address; expected host:port, for instance ",
                      "127.0.0.1:7001");
  }
  const std::string_view host = rest.substr(0, colon);
  return StrCat(kTcp, host == "localhost" ? "127.0.0.1" : host, rest.substr(colon));
}

bool IsLoopback(std::string_view endpoint) {
  if (StartsWith(endpoint, kTcp)) endpoint.remove_prefix(kTcp.size());
  const std::string_view host = endpoint.substr(0, endpoint.rfind(':'));
  // Digits only after "127.": "127.example.org" is a name.
  const bool numeric = host.find_first_not_of("0123456789.") == std::string_view::npos;
  return host == "[::1]" || (numeric && StartsWith(host, "127."));
}

bool IsEndpoint(std::string_view peer) { return StartsWith(peer, kTcp); }

}  // namespace mixrec::net
