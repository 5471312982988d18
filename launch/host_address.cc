#include "launch/host_address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>

#include <functional>
#include <memory>

#include "absl/strings/numbers.h"
#include "launch/clock_text.h"

namespace mixrec::launch {
namespace {

// Empty for what is no IPv4 address, or a loopback one.
std::string NetworkText(const sockaddr* address) {
  if (address == nullptr || address->sa_family != AF_INET) return "";
  const in_addr& number = reinterpret_cast<const sockaddr_in*>(address)->sin_addr;
  if ((ntohl(number.s_addr) >> 24) == 127) return "";
  char text[INET_ADDRSTRLEN] = {};
  return ::inet_ntop(AF_INET, &number, text, sizeof(text)) == nullptr ? "" : text;
}

std::string AddressOfName(const std::string& name) {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  addrinfo* first = nullptr;
  if (::getaddrinfo(name.c_str(), nullptr, &hints, &first) != 0) return "";
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(first, &::freeaddrinfo);
  for (const addrinfo* entry = first; entry != nullptr; entry = entry->ai_next) {
    const std::string text = NetworkText(entry->ai_addr);
    if (!text.empty()) return text;
  }
  return "";
}

// The first address of an interface that is up and satisfies `wanted`; empty: none does.
std::string FirstAddress(
    const std::function<bool(const std::string& interface, const std::string& text)>& wanted) {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return "";
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(first, &::freeifaddrs);
  for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
    if ((entry->ifa_flags & IFF_UP) == 0) continue;
    const std::string text = NetworkText(entry->ifa_addr);
    if (!text.empty() && wanted(entry->ifa_name, text)) return text;
  }
  return "";
}

// Whether an address is in a network, "10.0.0.0/8".
bool IsIn(const std::string& address, const std::string& network) {
  const size_t slash = network.find('/');
  in_addr base{}, mine{};
  int bits = 0;
  if (slash == std::string::npos || !absl::SimpleAtoi(network.substr(slash + 1), &bits) ||
      bits < 0 || bits > 32 || ::inet_pton(AF_INET, network.substr(0, slash).c_str(), &base) != 1 ||
      ::inet_pton(AF_INET, address.c_str(), &mine) != 1) {
    return false;
  }
  const uint32_t mask = bits == 0 ? 0 : ~uint32_t{0} << (32 - bits);
  return ((ntohl(base.s_addr) ^ ntohl(mine.s_addr)) & mask) == 0;
}

}  // namespace

std::string NetworkAddress() {
  std::string address = AddressOfName(HostName());
  if (address.empty()) address = FirstAddress([](const auto&, const auto&) { return true; });
  return address.empty() ? "127.0.0.1" : address;
}

absl::StatusOr<std::string> AddressOn(const std::string& network) {
  if (network.empty()) return NetworkAddress();
  const std::string address = FirstAddress([&](const auto& interface, const auto& text) {
    return interface == network || text == network || IsIn(text, network);
  });
  if (!address.empty()) return address;
  return UsageError("--network=", network, ": ", HostName(), " has no such interface, address or ",
                    "network that is up");
}

}  // namespace mixrec::launch
