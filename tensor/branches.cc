#include "tensor/branches.h"

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace mixrec::tensor {

// Streams of high priority are a pool of their own: nobody else's work is in them.
Branches::Branches(at::Device device, int64_t count) : count_(count) {
  if (device.is_cpu() || count < 2) return;
  const c10::impl::VirtualGuardImpl guard(device.type());
  for (int64_t i = 0; i < count; ++i) {
    streams_.push_back(guard.getStreamFromGlobalPool(device, /*isHighPriority=*/true));
  }
}

void Branches::Each(const std::function<void(int64_t)>& work) const {
  if (streams_.empty()) {
    for (int64_t i = 0; i < count_; ++i) work(i);
    return;
  }
  const c10::Device device = streams_[0].device();
  const c10::Stream current = c10::impl::VirtualGuardImpl(device.type()).getStream(device);
  c10::Event before(device.type());
  before.record(current);
  for (int64_t i = 0; i < count_; ++i) {
    const c10::Stream& stream = streams_[static_cast<size_t>(i)];
    before.block(stream);
    {
      const c10::StreamGuard scope(stream);
      work(i);
    }
    c10::Event after(device.type());
    after.record(stream);
    after.block(current);
  }
}

}  // namespace mixrec::tensor
