// Whatever bytes come, Decode ends, with a Wire that can be said again or a DataError.
#include <cstdlib>

#include "fuzz_message.h"
#include "ps/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mixrec::ps;  // NOLINT: a main function of sorts
  const auto wire = Decode(MessageOf({reinterpret_cast<const char*>(data), size}));
  if (!wire.ok()) {
    if (wire.status().code() != absl::StatusCode::kDataLoss) std::abort();
  } else if (!Decode(Encode(*wire)).ok()) {
    std::abort();
  }
  return 0;
}
