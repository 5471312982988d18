// Private to collective/: one operation of a group as a state machine over messages.
//
// Every rank talks to every other directly, so that who is waited for is who is missing. A sum over
// W ranks moves 2 (W - 1) / W of the tensor out of each rank and into it, as in a ring, in two
// rounds.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "collective/transport.h"
#include "common/status.h"

namespace mixrec::collective {

enum class Element { kFloat, kDouble, kInt, kLong };
size_t SizeOf(Element element);

// Who takes part: the ranks of a group by their numbers in the world.
struct Party {
  std::vector<int> world_ranks;
  int rank = 0;
  int size() const { return static_cast<int>(world_ranks.size()); }
};

class Operation {
 public:
  // Messages carry `tag` and `tag` + 1.
  Operation(const Party& party, int tag) : party_(party), tag_(tag) {}
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  virtual ~Operation() = default;

  // Does what can be done; true when all is. `*moved`: something was.
  absl::StatusOr<bool> Advance(Transport* transport, bool* moved);

  // Ranks of the group whose messages are still to come, or, when none are, that have not taken
  // ours.
  std::vector<int> Missing() const;

 protected:
  // Starts the messages of round 0, 1, ...; returns whether there was such a round. Called when
  // those of the round before are done.
  virtual bool Begin(int round, Transport* transport) = 0;
  // A send to, or a receipt from, a rank of the group.
  void Send(Transport* transport, int to, int round, const void* bytes, size_t size);
  void Receive(Transport* transport, int from, int round, void* bytes, size_t size);

  const Party party_;

 private:
  struct Pending {
    Transport::Request request;
    int peer;
    bool receives;
  };

  const int tag_;
  int round_ = 0;
  std::vector<Pending> pending_;
};

std::unique_ptr<Operation> MakeAllReduce(const Party& party, int tag, Element element, void* values,
                                         int64_t count);
// `bytes` from each rank; all [size, bytes].
std::unique_ptr<Operation> MakeAllGather(const Party& party, int tag, const void* mine, void* all,
                                         size_t bytes);
// all [size, count], mine [count].
std::unique_ptr<Operation> MakeReduceScatter(const Party& party, int tag, Element element,
                                             const void* all, void* mine, int64_t count);
std::unique_ptr<Operation> MakeBroadcast(const Party& party, int tag, int root, void* bytes,
                                         size_t size);

}  // namespace mixrec::collective
