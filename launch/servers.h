// From flags to a session with the parameter servers.
#pragma once

#include <memory>
#include <string>

#include "common/status.h"
#include "launch/ranks.h"
#include "ps/session.h"

namespace mixrec::launch {

// Whether --ps names servers; UsageError for flags that do not go together.
absl::StatusOr<bool> UsesServers();

// --sampled_softmax and --sampled_proposal.
ps::Sampling SamplingOfFlags();

// A session with the servers in the run's namespace, which is empty: what an earlier process of
// this run left there is dropped, since its checkpoint holds what counts. All ranks call it.
absl::StatusOr<std::unique_ptr<ps::Session>> OpenServers(const std::string& space,
                                                         const Ranks& ranks);

}  // namespace mixrec::launch
