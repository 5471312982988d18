// What a shard does as a backup, or as a learner that becomes one: the primary's updates, in order.
#include <algorithm>

#include "common/log.h"
#include "ps/codec.h"
#include "ps/shard.h"

namespace mixrec::ps {

void Shard::Fail(net::Outbox* out) {
  failed_ = true;
  out->Stop();
}

void Shard::OnReplicate(const net::Peer& from, const Wire& wire, net::Outbox* out) {
  const Envelope& envelope = wire.envelope;
  if (!InEpoch(wire)) {
    if (envelope.slot != slot_ || envelope.epoch > epoch_) {
      SendHeartbeat(out);  // to learn the new epoch; the primary will send again
    } else {
      Reply(from, envelope, {Code::kWrongEpoch, StrCat("epoch ", epoch_), Replicated{0}}, out);
    }
    return;
  }
  const bool follows = role_ == Role::kBackup || role_ == Role::kLearner;
  if (!follows && options_.mutation != Mutation::kNoEpochCheck) return;
  if (state_ == nullptr) return;
  const bool has_image = image_sequence_ > 0 && image_pieces_.empty();
  if (role_ == Role::kLearner && !has_image) return;
  worker_heard_ = out->now();  // by way of the primary
  const auto& update = std::get<Replicate>(wire.body);
  if (update.sequence == received_ + 1) {
    const absl::StatusOr<Wire> original = Decode({update.original, update.frames});
    if (!original.ok()) {
      LOG(ERROR) << "a damaged update: " << original.status().message();
      return;
    }
    const Answer answer = state_->Apply(original->envelope, original->body);
    if (answer.code == Code::kFailed) {
      LOG(ERROR) << "shard " << slot_ << " cannot follow its primary: " << answer.text;
      Fail(out);
      return;
    }
    received_ = update.sequence;
  }
  Reply(from, envelope, {Code::kOk, "", Replicated{std::min(received_, update.sequence)}}, out);
}

void Shard::OnImage(const net::Peer& from, const Wire& wire, net::Outbox* out) {
  const auto& piece = std::get<StateImage>(wire.body);
  if (!InEpoch(wire)) {
    if (wire.envelope.slot != slot_ || wire.envelope.epoch > epoch_) SendHeartbeat(out);
    return;
  }
  if (role_ != Role::kLearner && role_ != Role::kBackup) return;
  const bool loaded = image_pieces_.empty() && image_sequence_ == piece.sequence + 1;
  if (!loaded) {
    if (image_sequence_ != piece.sequence + 1 ||
        image_pieces_.size() != static_cast<size_t>(piece.parts)) {
      image_sequence_ = piece.sequence + 1;
      image_pieces_.assign(static_cast<size_t>(piece.parts), {});
    }
    image_pieces_[static_cast<size_t>(piece.part)] = piece.bytes;
    const bool whole = std::all_of(image_pieces_.begin(), image_pieces_.end(),
                                   [](const net::Buffer& bytes) { return !bytes.empty(); });
    if (whole) {
      std::string image;
      for (const net::Buffer& bytes : image_pieces_) image.append(bytes.data(), bytes.size());
      const absl::Status status = state_->Load(net::Buffer::Copy(image));
      if (!status.ok()) {
        LOG(ERROR) << "a damaged state: " << status.message();
        Fail(out);
        return;
      }
      received_ = piece.sequence;
      image_pieces_.clear();
    }
  }
  Reply(from, wire.envelope, {Code::kOk, "", StateImageReceived{piece.sequence, piece.part}}, out);
}

}  // namespace mixrec::ps
