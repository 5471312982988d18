#include "launch/host_address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>

#include <memory>

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

std::string AddressOfInterface() {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return "";
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(first, &::freeifaddrs);
  for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
    if ((entry->ifa_flags & IFF_UP) == 0) continue;
    const std::string text = NetworkText(entry->ifa_addr);
    if (!text.empty()) return text;
  }
  return "";
}

}  // namespace

std::string NetworkAddress() {
  std::string address = AddressOfName(HostName());
  if (address.empty()) address = AddressOfInterface();
  return address.empty() ? "127.0.0.1" : address;
}

}  // namespace mixrec::launch
