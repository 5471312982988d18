// What a shard knows: namespaces with their sessions, tables, and the gradients that wait until
// their step is complete. A pure object: effects are applied one after the other, and two of them
// that applied the same effects are equal, which is what makes a backup (docs/protocol.md).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "ps/mutation.h"
#include "ps/protocol.h"
#include "ps/requests.h"
#include "ps/served_table.h"

namespace mixrec::ps {

// One thread.
class ShardState {
 public:
  ShardState(BucketRange buckets, at::Device device, Mutation mutation = Mutation::kNone);

  // What became of a request with effect that may have been here before.
  enum class Seen {
    kNew,
    kAnswered,  // *answer is what was said then
    kOver,      // its sender has the answer: silence is right
  };
  Seen Find(const Envelope& envelope, const Body& body, Answer* answer) const;

  // What can be known before an effect is agreed upon (a snapshot that is damaged or not visible
  // here); kOk otherwise.
  Answer Prepare(const Body& effect) const;
  // Applies a request with effect and remembers the answer. The caller has asked Find.
  Answer Apply(const Envelope& envelope, const Body& effect);
  // Answers a request without effect. kParked, with who is missing, when its rows are not there
  // yet.
  Answer Read(const Envelope& envelope, const Body& body);

  // The rank of a sender; -1 when it has no session (any more).
  int RankOf(const std::string& space, uint64_t incarnation) const;
  // Namespaces and their leases in seconds.
  std::map<std::string, int64_t> Leases() const;
  BucketRange buckets() const { return buckets_; }

  // {"namespaces":[{"name":…,"ranks":…,"tables":[{"name":…,"rows":…,"bytes":…,"version":…}]}]}
  std::string StatsJson() const;

  // The whole state as bytes, and back (ps/shard_image.cc). DataError when the bytes are damaged.
  net::Buffer Serialise() const;
  absl::Status Load(const net::Buffer& image);

 private:
  struct Session {
    uint64_t incarnation = 0;
    uint64_t done_below = 0;
    std::map<uint64_t, Answer> answered;  // by request; small: what the sender may still ask again
  };
  struct Namespace {
    OpenSession options;
    std::map<int, Session> sessions;  // by rank
    std::map<std::string, ServedTable> tables;
  };

  Namespace* FindSpace(const std::string& space);
  const Session* FindSession(const std::string& space, uint64_t incarnation) const;
  ServedTable* FindTable(const TableKey& key);
  Answer CheckSender(const Envelope& envelope, const Body& body) const;
  Answer Effect(const Envelope& envelope, const Body& body);
  Answer Open(const Envelope& envelope, const OpenSession& open);
  Answer Create(const CreateTable& create);
  Answer RestoreTables(const Restore& restore);
  Answer SaveTables(const Save& save);

  BucketRange buckets_;
  at::Device device_;
  Mutation mutation_;
  std::map<std::string, Namespace> spaces_;
};

}  // namespace mixrec::ps
