// Ranks as threads of one process, for tests: the operations and their failures are those of the
// real thing; only the messages do not leave the process.
#pragma once

#include <memory>
#include <vector>

#include "collective/group.h"

namespace mixrec::collective {

class LocalWorld {
 public:
  // A rank's host is hosts[rank], or "local".
  explicit LocalWorld(int ranks, const std::vector<std::string>& hosts = {});
  LocalWorld(const LocalWorld&) = delete;
  LocalWorld& operator=(const LocalWorld&) = delete;
  ~LocalWorld();

  // Each is for one thread.
  Group* group(int rank);
  // From now on the others find that rank's process dead.
  void Kill(int rank);

 private:
  struct Hub;
  class HubTransport;
  struct Rank;
  std::unique_ptr<Hub> hub_;
  std::vector<std::unique_ptr<Rank>> ranks_;
};

}  // namespace mixrec::collective
