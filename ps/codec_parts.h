// The three steps inside ps/codec.h, and which buffers of a body are frames.
#pragma once

#include <ps/protocol.capnp.h>

#include <array>

#include "common/status.h"
#include "ps/protocol.h"

namespace mixrec::ps {

// A body's buffers, in the order of their frames. All are sent, empty ones too, so the number of
// frames follows from the kind of message. (Replicate has `frames` after its list.)
template <typename B>
struct FramesOf {
  static constexpr std::array<net::Buffer B::*, 0> members{};
};
template <>
struct FramesOf<Pull> {
  static constexpr std::array members{&Pull::ids};
};
template <>
struct FramesOf<Push> {
  static constexpr std::array members{&Push::ids, &Push::gradients};
};
template <>
struct FramesOf<SoftmaxForward> {
  static constexpr std::array members{&SoftmaxForward::states, &SoftmaxForward::labels};
};
template <>
struct FramesOf<SoftmaxBackward> {
  static constexpr std::array members{&SoftmaxBackward::log_sum_exp, &SoftmaxBackward::weights,
                                      &SoftmaxBackward::states, &SoftmaxBackward::labels};
};
template <>
struct FramesOf<TopK> {
  static constexpr std::array members{&TopK::states, &TopK::exclude_offsets, &TopK::exclude_ids};
};
template <>
struct FramesOf<Rank> {
  static constexpr std::array members{&Rank::states, &Rank::targets, &Rank::target_scores,
                                      &Rank::exclude_offsets, &Rank::exclude_ids};
};
template <>
struct FramesOf<Replicate> {
  static constexpr std::array members{&Replicate::original};
};
template <>
struct FramesOf<StateImage> {
  static constexpr std::array members{&StateImage::bytes};
};
template <>
struct FramesOf<Rows> {
  static constexpr std::array members{&Rows::rows};
};
template <>
struct FramesOf<SoftmaxPartial> {
  static constexpr std::array members{&SoftmaxPartial::maximum, &SoftmaxPartial::sum,
                                      &SoftmaxPartial::label_logits, &SoftmaxPartial::label_rows,
                                      &SoftmaxPartial::numerators};
};
template <>
struct FramesOf<TopKLists> {
  static constexpr std::array members{&TopKLists::ids, &TopKLists::scores};
};
template <>
struct FramesOf<RankPartial> {
  static constexpr std::array members{&RankPartial::target_scores, &RankPartial::counts};
};

// Everything of `body` but its buffers.
void WriteBody(const Body& body, schema::Envelope::Body::Builder out);

// A body without its buffers. Nothing is checked but that the kind is known (DataError) and lists
// have a sane length. Throws what Cap'n Proto throws.
absl::StatusOr<Body> ReadBody(schema::Envelope::Body::Reader in);

// Whether numbers, names and frames of a whole body fit each other.
absl::Status CheckBody(const Body& body);

}  // namespace mixrec::ps
