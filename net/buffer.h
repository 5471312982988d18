// Immutable bytes with a shared owner: what messages are made of. Copying a Buffer copies no bytes,
// so a tensor's rows go to the wire, and a received frame becomes a tensor, without a copy.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

namespace mixrec::net {

// Any thread may hold a copy; the bytes must not change while one exists.
class Buffer {
 public:
  Buffer() = default;
  // Bytes that live as long as `owner`.
  Buffer(const void* data, size_t size, std::shared_ptr<const void> owner)
      : data_(static_cast<const char*>(data)), size_(size), owner_(std::move(owner)) {}

  static Buffer Copy(const void* data, size_t size) {
    return Make(size, [&](char* out) { std::memcpy(out, data, size); });
  }
  static Buffer Copy(std::string_view bytes) { return Copy(bytes.data(), bytes.size()); }

  // New memory, aligned for any type, filled by `fill(char*)`.
  template <typename Fill>
  static Buffer Make(size_t size, Fill fill) {
    if (size == 0) return {};
    std::shared_ptr<char> bytes(static_cast<char*>(::operator new(size)),
                                [](char* memory) { ::operator delete(memory); });
    fill(bytes.get());
    const char* data = bytes.get();
    return Buffer(data, size, std::move(bytes));
  }

  const char* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::string_view bytes() const { return {data_, size_}; }
  // Part of it, with the same owner. `offset + size` must be inside.
  Buffer Slice(size_t offset, size_t size) const { return {data_ + offset, size, owner_}; }

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
  std::shared_ptr<const void> owner_;
};

}  // namespace mixrec::net
