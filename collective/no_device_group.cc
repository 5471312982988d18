// Of a build without CUDA.
#include "collective/device_group.h"

namespace mixrec::collective {

absl::StatusOr<std::unique_ptr<Group>> MakeDeviceGroup(MpiWorld* /*world*/, at::Device device) {
  return UsageError("ranks on ", device.str(), " need a build with CUDA");
}

}  // namespace mixrec::collective
