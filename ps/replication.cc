#include "ps/replication.h"

#include <algorithm>

#include "common/log.h"
#include "ps/codec.h"
#include "ps/requests.h"

namespace mixrec::ps {

void ReplicationLog::Reset(uint64_t applied) {
  log_.clear();
  follower_.reset();
  applied_ = applied;
  next_ = applied + 1;
}

void ReplicationLog::Append(Wire wire, net::Peer from) {
  log_.push_back({next_++, std::move(wire), std::move(from)});
}

bool ReplicationLog::Holds(uint64_t incarnation, const std::string& space, uint64_t request) const {
  return std::any_of(log_.begin(), log_.end(), [&](const Entry& entry) {
    return entry.sequence > applied_ && entry.wire.envelope.incarnation == incarnation &&
           entry.wire.envelope.request == request && SpaceOf(entry.wire.body) == space;
  });
}

void ReplicationLog::AddBackup(const Replica& replica) {
  follower_.emplace();
  follower_->replica = replica;
  follower_->synchronous = true;
  follower_->acknowledged = follower_->sent = last();
}

void ReplicationLog::AddLearner(const Replica& replica, net::Buffer image, bool synchronous) {
  follower_.emplace();
  Follower& learner = *follower_;
  learner.replica = replica;
  learner.synchronous = synchronous;
  learner.image = std::move(image);
  learner.image_sequence = learner.acknowledged = learner.sent = applied_;
  learner.image_left = (learner.image.size() + options_.piece_bytes - 1) / options_.piece_bytes;
  learner.image_received.assign(learner.image_left, false);
}

void ReplicationLog::RemoveFollower() {
  follower_.reset();
  Trim();
}

void ReplicationLog::OnReplicated(uint64_t up_to) {
  if (!follower_ || follower_->image_left > 0 || up_to > last()) return;
  if (up_to <= follower_->acknowledged) return;
  follower_->acknowledged = up_to;
  follower_->progress_at = 0;
  CheckClose();
  Trim();
}

void ReplicationLog::OnImagePiece(uint64_t sequence, int32_t part) {
  if (!follower_ || sequence != follower_->image_sequence || part < 0) return;
  const auto index = static_cast<size_t>(part);
  if (index >= follower_->image_received.size() || follower_->image_received[index]) return;
  follower_->image_received[index] = true;
  follower_->progress_at = 0;
  if (--follower_->image_left == 0) {
    follower_->image = {};
    CheckClose();
  }
}

void ReplicationLog::CheckClose() {
  Follower& follower = *follower_;
  const bool close =
      follower.image_left == 0 && last() - follower.acknowledged <= options_.window_messages;
  if (!close || follower.synchronous) return;
  follower.synchronous = true;
  follower.synchronous_from = applied_;
}

std::vector<ReplicationLog::Entry> ReplicationLog::TakeCommitted() {
  uint64_t committed = last();
  if (follower_ && follower_->synchronous && !options_.commit_early) {
    committed = follower_->image_left > 0 ? applied_ : follower_->acknowledged;
  }
  std::vector<Entry> entries;
  for (const Entry& entry : log_) {
    if (entry.sequence > applied_ && entry.sequence <= committed) entries.push_back(entry);
  }
  applied_ = std::max(applied_, committed);
  Trim();
  return entries;
}

void ReplicationLog::Trim() {
  const uint64_t floor = follower_ ? std::min(applied_, follower_->acknowledged) : applied_;
  while (!log_.empty() && log_.front().sequence <= floor) log_.pop_front();
}

void ReplicationLog::Send(const Envelope& envelope, net::Outbox* out) {
  if (!follower_) return;
  if (follower_->image_left > 0) {
    SendImage(envelope, out);
  } else {
    SendEntries(envelope, out);
  }
}

void ReplicationLog::SendImage(const Envelope& envelope, net::Outbox* out) {
  Follower& learner = *follower_;
  const bool again = out->now() >= learner.progress_at + options_.resend;
  const size_t pieces = learner.image_received.size();
  size_t under_way = 0;
  for (size_t piece = 0; piece < pieces && under_way < options_.window_messages; ++piece) {
    if (learner.image_received[piece]) continue;
    ++under_way;
    if (piece < learner.image_sent && !(again && learner.progress_at > 0)) continue;
    const size_t offset = piece * options_.piece_bytes;
    const size_t size = std::min(options_.piece_bytes, learner.image.size() - offset);
    out->Send(learner.replica.endpoint,
              Encode({envelope, StateImage{learner.image_sequence, static_cast<int32_t>(piece),
                                           static_cast<int32_t>(pieces),
                                           learner.image.Slice(offset, size)}}));
    learner.image_sent = std::max(learner.image_sent, piece + 1);
  }
  if (again || learner.progress_at == 0) learner.progress_at = out->now();
  out->WakeAt(learner.progress_at + options_.resend);
}

void ReplicationLog::SendEntries(const Envelope& envelope, net::Outbox* out) {
  Follower& follower = *follower_;
  if (follower.acknowledged == last()) return;
  if (follower.progress_at == 0) {
    follower.progress_at = out->now();
  } else if (out->now() >= follower.progress_at + options_.resend) {
    follower.sent = follower.acknowledged;  // once more from there
    follower.progress_at = out->now();
  }
  const uint64_t until = std::min(last(), follower.acknowledged + options_.window_messages);
  for (const Entry& entry : log_) {
    if (entry.sequence <= follower.sent || entry.sequence > until) continue;
    net::Message original = Encode(entry.wire);
    out->Send(follower.replica.endpoint,
              Encode({envelope, Replicate{entry.sequence, std::move(original.head),
                                          std::move(original.frames)}}));
  }
  follower.sent = std::max(follower.sent, until);
  out->WakeAt(follower.progress_at + options_.resend);
}

}  // namespace mixrec::ps
