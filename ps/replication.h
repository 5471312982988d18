// A primary's updates on their way to its follower (the backup, or a learner that is to become it),
// and when they may take effect (docs/protocol.md, "Replication").
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "net/actor.h"
#include "ps/protocol.h"

namespace mixrec::ps {

struct ReplicationOptions {
  net::Time resend = 500 * net::kMillisecond;  // without progress for so long: once more
  size_t window_messages = 64;                 // under way to the follower
  size_t piece_bytes = 512 * 1024;             // of a state image
  bool commit_early = false;                   // Mutation::kEarlyAcknowledgement
};

// One thread; sends through the outbox it is given.
class ReplicationLog {
 public:
  explicit ReplicationLog(const ReplicationOptions& options) : options_(options) {}

  struct Entry {
    uint64_t sequence = 0;
    Wire wire;
    net::Peer from;
  };

  // Forgets everything; the next update is number `applied` + 1.
  void Reset(uint64_t applied);

  // Number of the last update.
  uint64_t last() const { return next_ - 1; }

  // An update in the order in which it will be applied.
  void Append(Wire wire, net::Peer from);
  // Whether this request is in the log and not applied yet.
  bool Holds(uint64_t incarnation, const std::string& space, uint64_t request) const;

  // A backup that has every update so far: from now on none is applied before it has it.
  void AddBackup(const Replica& replica);
  // A follower that knows nothing: it gets `image`, the state after all updates that were taken,
  // then the updates since. With `synchronous` none is applied meanwhile; otherwise they are, until
  // the follower is close behind: from then on none is applied without it, so that it catches up.
  void AddLearner(const Replica& replica, net::Buffer image, bool synchronous);
  void RemoveFollower();
  const Replica* follower() const { return follower_ ? &follower_->replica : nullptr; }
  // The follower has every update that was ever applied, and none will be without its word.
  bool in_sync() const {
    return follower_ && follower_->synchronous && follower_->image_left == 0 &&
           follower_->acknowledged >= follower_->synchronous_from;
  }

  // The follower's words, already checked for their epoch.
  void OnReplicated(uint64_t up_to);
  void OnImagePiece(uint64_t sequence, int32_t part);

  // Updates that may be applied now, in order, each once.
  std::vector<Entry> TakeCommitted();

  // Sends what is due and asks to be woken. `envelope` goes around each message.
  void Send(const Envelope& envelope, net::Outbox* out);

 private:
  struct Follower {
    Replica replica;
    bool synchronous = false;       // no update is applied without its word
    uint64_t synchronous_from = 0;  // the first number of which that is so, less 1
    net::Buffer image;
    uint64_t image_sequence = 0;
    std::vector<bool> image_received;  // by piece; empty: no image to send
    size_t image_left = 0;
    size_t image_sent = 0;      // pieces sent at least once
    uint64_t acknowledged = 0;  // every update up to it is there
    uint64_t sent = 0;
    net::Time progress_at = 0;  // of the last word, or sending
  };

  void SendImage(const Envelope& envelope, net::Outbox* out);
  void SendEntries(const Envelope& envelope, net::Outbox* out);
  void CheckClose();
  void Trim();

  ReplicationOptions options_;
  std::deque<Entry> log_;  // updates that are not applied, or that the follower lacks
  uint64_t next_ = 1;      // number of the next update
  uint64_t applied_ = 0;   // updates taken
  std::optional<Follower> follower_;
};

}  // namespace mixrec::ps
