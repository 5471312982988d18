// Names a part of a train step in profiles (worker/step_profile.h), from here to the end of the
// scope; phases may nest, and the innermost one counts. Costs nothing while nobody records.
#pragma once

#include <ATen/record_function.h>

namespace mixrec::tensor {

inline constexpr char kPhasePrefix[] = "mixrec::";

class Phase {
 public:
  // `name` starts with kPhasePrefix.
  explicit Phase(const char* name) : record_(at::RecordScope::FUNCTION) {
    if (record_.isActive()) record_.before(name);
  }

 private:
  at::RecordFunction record_;
};

}  // namespace mixrec::tensor
