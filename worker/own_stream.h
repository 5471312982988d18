// Work of a thread in a stream of its own on a GPU, beside that of other threads. On a CPU,
// nothing.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <optional>

namespace mixrec::worker {

// While it lives, the thread's current stream is the given one.
using StreamScope = c10::OptionalStreamGuard;

class OwnStream {
 public:
  explicit OwnStream(at::Device device) {
    if (device.is_cpu()) return;
    stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
  }
  // Tensors that are used in the stream are best made in it.
  StreamScope Enter() const { return StreamScope(stream_); }

 private:
  std::optional<c10::Stream> stream_;
};

}  // namespace mixrec::worker
