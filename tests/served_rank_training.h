// One model trained by several ranks against parameter servers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ps_cluster.h"
#include "rank_training.h"

namespace mixrec::worker {

// A session a rank, on `shards` servers of their own.
inline RankResults TrainServedRanks(const World& world, int ranks, int shards,
                                    const model::ModelOptions& model, const TrainOptions& options,
                                    const std::string& run) {
  const ps::Cluster cluster(shards);
  std::vector<std::unique_ptr<ps::Session>> sessions;
  for (int rank = 0; rank < ranks; ++rank) {
    ps::SessionOptions session = cluster.Options();
    session.rank = rank;
    session.world = ranks;
    sessions.push_back(cluster.Open(session));
  }
  return TrainRanks(world, ranks, model, options, run, [&](int rank, TrainInputs* inputs) {
    inputs->placement.session = sessions[static_cast<size_t>(rank)].get();
  });
}

}  // namespace mixrec::worker
