#include "model/architecture.h"

namespace mixrec::model {

absl::StatusOr<Architecture> Architecture::Parse(std::string_view bits, int layers) {
  const size_t expected = static_cast<size_t>(layers) * kSitesPerLayer;
  if (bits.size() != expected) {
    return UsageError("architecture ", bits, " has ", bits.size(), " bits, expected ", expected,
                      " (3 for each of ", layers, " DAMoE layers)");
  }
  for (char bit : bits) {
    if (bit != '0' && bit != '1') {
      return UsageError("architecture ", bits, " may hold only 0 (serial) and 1 (parallel)");
    }
  }
  return Architecture(std::string(bits));
}

}  // namespace mixrec::model
