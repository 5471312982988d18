// What an optimiser keeps of a row. Knows no tensors.
#pragma once

#include <string>
#include <vector>

#include "ps/protocol.h"

namespace mixrec::ps {

// The optimiser's state of a row under the names that checkpoints give it, in the order in which it
// follows the values: none (SGD); sum_of_squares (Adagrad); first_moment, second_moment (AdamW).
std::vector<std::string> MomentNames(Optimizer kind);

}  // namespace mixrec::ps
