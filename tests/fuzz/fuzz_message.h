// Messages as flat bytes, for fuzzers that know no frames: for each part its size (u32), then its
// bytes; the head first. What does not fit is cut, so any bytes are some message.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "net/actor.h"

namespace mixrec::ps {

inline net::Message MessageOf(std::string_view bytes) {
  net::Message message;
  for (bool head = true; bytes.size() >= 4; head = false) {
    uint32_t size = 0;
    std::memcpy(&size, bytes.data(), 4);
    bytes.remove_prefix(4);
    const size_t taken = std::min<size_t>(size, bytes.size());
    // A copy of its own, so that a sanitizer sees its end.
    const net::Buffer part = net::Buffer::Copy(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (head) {
      message.head = part;
    } else {
      message.frames.push_back(part);
    }
  }
  return message;
}

inline std::string BytesOf(const net::Message& message) {
  std::string bytes;
  const auto append = [&](const net::Buffer& part) {
    const auto size = static_cast<uint32_t>(part.size());
    bytes.append(reinterpret_cast<const char*>(&size), 4).append(part.bytes());
  };
  append(message.head);
  for (const net::Buffer& frame : message.frames) append(frame);
  return bytes;
}

}  // namespace mixrec::ps
