// Runs a function as every rank of a group, each in a thread of its own.
#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "collective/local_world.h"

namespace mixrec::collective {

inline void RunRanks(LocalWorld* world, int ranks, const std::function<void(Group*)>& run) {
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([world, rank, &run] { run(world->group(rank)); });
  }
  for (std::thread& thread : threads) thread.join();
}

inline void RunRanks(int ranks, const std::function<void(Group*)>& run) {
  LocalWorld world(ranks);
  RunRanks(&world, ranks, run);
}

}  // namespace mixrec::collective
