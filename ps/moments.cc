#include "ps/moments.h"

#include "common/log.h"

namespace mixrec::ps {

std::vector<std::string> MomentNames(Optimizer kind) {
  switch (kind) {
    case Optimizer::kSgd:
      return {};
    case Optimizer::kAdagrad:
      return {"sum_of_squares"};
    case Optimizer::kAdamW:
      return {"first_moment", "second_moment"};
  }
  LOG(FATAL) << "optimiser " << static_cast<int>(kind);
  return {};
}

}  // namespace mixrec::ps
