#include "ps/codec.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>
#include <kj/io.h>

#include <utility>

#include "ps/codec_parts.h"

namespace mixrec::ps {
namespace {

constexpr uint32_t kProtocolVersion = 1;

// Before the envelope: eight bytes, so that the envelope stays aligned.
struct Prefix {
  uint32_t magic = 0x5350584D;  // "MXPS"
  uint32_t version = kProtocolVersion;
};
static_assert(sizeof(Prefix) == sizeof(capnp::word));

constexpr size_t kMostHeadBytes = size_t{16} << 20;
constexpr size_t kScratchWords = 128;  // enough for all but maps, table specs and reports

net::Buffer Serialize(capnp::MessageBuilder& builder) {
  const auto segments = builder.getSegmentsForOutput();
  const size_t bytes = capnp::computeSerializedSizeInWords(segments) * sizeof(capnp::word);
  return net::Buffer::Make(sizeof(Prefix) + bytes, [&](char* out) {
    const Prefix prefix;
    std::memcpy(out, &prefix, sizeof(prefix));
    auto* start = reinterpret_cast<kj::byte*>(out + sizeof(prefix));
    kj::ArrayOutputStream stream(kj::arrayPtr(start, bytes));
    capnp::writeMessage(stream, segments);
  });
}

void WriteEnvelope(const Envelope& envelope, schema::Envelope::Builder out) {
  out.setRequest(envelope.request);
  out.setIncarnation(envelope.incarnation);
  out.setEpoch(envelope.epoch);
  out.setDoneBelow(envelope.done_below);
  out.setSlot(envelope.slot);
  out.setCode(static_cast<uint8_t>(envelope.code));
  if (!envelope.text.empty())
    out.setText(kj::StringPtr(envelope.text.c_str(), envelope.text.size()));
}

Envelope ReadEnvelope(schema::Envelope::Reader in) {
  Envelope envelope;
  envelope.request = in.getRequest();
  envelope.incarnation = in.getIncarnation();
  envelope.epoch = in.getEpoch();
  envelope.done_below = in.getDoneBelow();
  envelope.slot = in.getSlot();
  envelope.code = static_cast<Code>(in.getCode());
  const auto text = in.getText();
  envelope.text.assign(text.begin(), text.size());
  return envelope;
}

// Every body's frames, appended.
template <typename B>
void AppendFrames(const B& body, std::vector<net::Buffer>* frames) {
  for (const auto member : FramesOf<B>::members) frames->push_back(body.*member);
}
void AppendFrames(const Replicate& body, std::vector<net::Buffer>* frames) {
  frames->push_back(body.original);
  frames->insert(frames->end(), body.frames.begin(), body.frames.end());
}

net::Buffer Aligned(const net::Buffer& buffer, size_t alignment) {
  if (reinterpret_cast<uintptr_t>(buffer.data()) % alignment == 0) return buffer;
  return net::Buffer::Copy(buffer.bytes());
}

template <typename B>
absl::Status TakeFrames(const std::vector<net::Buffer>& frames, B* body) {
  constexpr auto& members = FramesOf<B>::members;
  if (frames.size() != members.size()) {
    return DataError("malformed message: ", frames.size(), " frames instead of ", members.size());
  }
  for (size_t i = 0; i < members.size(); ++i) body->*members[i] = Aligned(frames[i], 4);
  return absl::OkStatus();
}
absl::Status TakeFrames(const std::vector<net::Buffer>& frames, Replicate* body) {
  if (frames.empty()) return DataError("malformed message: Replicate without frames");
  body->original = frames[0];
  body->frames.assign(frames.begin() + 1, frames.end());
  return absl::OkStatus();
}

absl::Status CheckPrefix(const net::Buffer& head) {
  if (head.size() < sizeof(Prefix) + sizeof(capnp::word) ||
      head.size() % sizeof(capnp::word) != 0 || head.size() > kMostHeadBytes) {
    return DataError("malformed message: an envelope of ", head.size(), " bytes");
  }
  Prefix prefix;
  std::memcpy(&prefix, head.data(), sizeof(prefix));
  if (prefix.magic != Prefix{}.magic) {
    return DataError("malformed message: not one of MixRec's parameter server");
  }
  if (prefix.version != kProtocolVersion) {
    return DataError("message of protocol version ", prefix.version,
                     ", this program speaks version ", kProtocolVersion,
                     "; use the same version of mixrec everywhere");
  }
  return absl::OkStatus();
}

absl::Status CheckEnvelope(const Envelope& envelope) {
  if (envelope.code > Code::kFailed || envelope.slot < -1 || envelope.slot >= kBuckets) {
    return DataError("malformed message: code ", static_cast<int>(envelope.code), ", slot ",
                     envelope.slot);
  }
  return absl::OkStatus();
}

absl::StatusOr<Wire> Parse(const net::Buffer& head) {
  const auto* words = reinterpret_cast<const capnp::word*>(head.data() + sizeof(Prefix));
  const size_t count = head.size() / sizeof(capnp::word) - 1;
  capnp::ReaderOptions limits;
  // An honest envelope names each of its words once; a hostile one, the same words over and over.
  limits.traversalLimitInWords = 2 * count + 256;
  limits.nestingLimit = 8;
  capnp::FlatArrayMessageReader reader(kj::arrayPtr(words, count), limits);
  if (reader.getEnd() != words + count) {
    return DataError("malformed message: bytes after the envelope");
  }
  const auto root = reader.getRoot<schema::Envelope>();
  Wire wire;
  wire.envelope = ReadEnvelope(root);
  MIXREC_RETURN_IF_ERROR(CheckEnvelope(wire.envelope));
  MIXREC_ASSIGN_OR_RETURN(wire.body, ReadBody(root.getBody()));
  return wire;
}

// The wall: Cap'n Proto speaks in exceptions.
absl::StatusOr<Wire> ParseCaught(const net::Buffer& head) {
  try {
    return Parse(head);
  } catch (const kj::Exception& error) {
    return DataError("malformed message: ", error.getDescription().cStr());
  } catch (const std::exception& error) {
    return DataError("malformed message: ", error.what());
  }
}

}  // namespace

net::Message Encode(const Wire& wire) {
  capnp::word scratch[kScratchWords] = {};
  capnp::MallocMessageBuilder builder(kj::arrayPtr(scratch, kScratchWords));
  auto root = builder.initRoot<schema::Envelope>();
  WriteEnvelope(wire.envelope, root);
  WriteBody(wire.body, root.getBody());
  net::Message message;
  message.head = Serialize(builder);
  std::visit([&](const auto& body) { AppendFrames(body, &message.frames); }, wire.body);
  return message;
}

absl::StatusOr<Wire> Decode(const net::Message& message) {
  MIXREC_RETURN_IF_ERROR(CheckPrefix(message.head));
  MIXREC_ASSIGN_OR_RETURN(Wire wire, ParseCaught(Aligned(message.head, sizeof(capnp::word))));
  MIXREC_RETURN_IF_ERROR(
      std::visit([&](auto& body) { return TakeFrames(message.frames, &body); }, wire.body));
  MIXREC_RETURN_IF_ERROR(CheckBody(wire.body));
  return wire;
}

}  // namespace mixrec::ps
