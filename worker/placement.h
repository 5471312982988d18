// Where a model's tables live: the item projection and the CF embeddings.
#pragma once

#include "ps/session.h"

namespace mixrec::worker {

struct Placement {
  ps::Session* session = nullptr;  // null: embedded, in this process
  ps::Sampling sampling;           // of the item projection's softmax in training, with servers
};

}  // namespace mixrec::worker
