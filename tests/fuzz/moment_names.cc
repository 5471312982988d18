// As in ps/row_optimizer.cc, which the fuzzers cannot link: it needs LibTorch.
#include "ps/row_optimizer.h"

namespace mixrec::ps {

std::vector<std::string> MomentNames(Optimizer kind) {
  switch (kind) {
    case Optimizer::kSgd:
      return {};
    case Optimizer::kAdagrad:
      return {"sum_of_squares"};
    case Optimizer::kAdamW:
      break;
  }
  return {"first_moment", "second_moment"};
}

}  // namespace mixrec::ps
