#include "scheduler/codec.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>
#include <kj/io.h>
#include <scheduler/protocol.capnp.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>

namespace mixrec::scheduler {
namespace {

constexpr uint32_t kProtocolVersion = 1;

// Before the envelope: eight bytes, so that the envelope stays aligned.
struct Prefix {
  uint32_t magic = 0x4353584D;  // "MXSC"
  uint32_t version = kProtocolVersion;
};
static_assert(sizeof(Prefix) == sizeof(capnp::word));

constexpr size_t kMostHeadBytes = size_t{4} << 20;
constexpr uint32_t kMostTrials = 10000, kMostScores = 100000;

kj::StringPtr Text(const std::string& text) { return {text.c_str(), text.size()}; }
std::string Text(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

void Write(const HeldTrial& held, schema::HeldTrial::Builder out) {
  out.setTrial(held.id.trial);
  out.setAttempt(held.id.attempt);
  auto scores = out.initScores(static_cast<uint32_t>(held.scores.size()));
  for (uint32_t i = 0; i < scores.size(); ++i) {
    scores[i].setEpoch(held.scores[i].epoch);
    scores[i].setValue(held.scores[i].value);
  }
  const Outcome& outcome = held.outcome;
  out.setOutcome(static_cast<uint8_t>(outcome.kind));
  out.setValue(outcome.value);
  out.setSeconds(outcome.seconds);
  out.setFailure(static_cast<uint8_t>(outcome.failure));
  if (!outcome.reason.empty()) out.setReason(Text(outcome.reason));
  if (!outcome.log.empty()) out.setLog(Text(outcome.log));
}

void Write(const GroupReport& report, schema::Envelope::Body::Builder body) {
  auto out = body.initGroupReport();
  const GroupRecord& group = report.group;
  out.setName(Text(group.name));
  out.setIncarnation(group.incarnation);
  out.setState(static_cast<uint8_t>(group.state));
  out.setSlots(group.slots);
  out.setRanks(group.ranks);
  out.setHost(Text(group.host));
  out.setDevice(Text(group.device));
  out.setProcess(group.process);
  out.setSequence(report.sequence);
  out.setSettings(Text(report.settings));
  out.setReady(report.ready);
  auto trials = out.initTrials(static_cast<uint32_t>(report.trials.size()));
  for (uint32_t i = 0; i < trials.size(); ++i) Write(report.trials[i], trials[i]);
}

void Write(const Assignment& assignment, schema::Envelope::Body::Builder body) {
  auto out = body.initAssignment();
  out.setIncarnation(assignment.incarnation);
  out.setNumber(assignment.number);
  out.setGroupIncarnation(assignment.group_incarnation);
  out.setHeard(assignment.heard);
  out.setLeaseSeconds(assignment.lease_seconds);
  out.setHeartbeatSeconds(assignment.heartbeat_seconds);
  out.setRefused(Text(assignment.refused));
  out.setStudy(Text(assignment.study));
  out.setPhase(static_cast<uint8_t>(assignment.phase));
  out.setReason(Text(assignment.reason));
  auto trials = out.initTrials(static_cast<uint32_t>(assignment.trials.size()));
  for (uint32_t i = 0; i < trials.size(); ++i) {
    const LeasedTrial& trial = assignment.trials[i];
    trials[i].setTrial(trial.id.trial);
    trials[i].setAttempt(trial.id.attempt);
    trials[i].setWork(Text(trial.work));
    trials[i].setKnownEpoch(trial.known_epoch);
  }
  auto settled = out.initSettled(static_cast<uint32_t>(assignment.settled.size()));
  for (uint32_t i = 0; i < settled.size(); ++i) {
    settled[i].setTrial(assignment.settled[i].trial);
    settled[i].setAttempt(assignment.settled[i].attempt);
  }
}

HeldTrial Read(schema::HeldTrial::Reader in) {
  HeldTrial held;
  held.id = {in.getTrial(), in.getAttempt()};
  for (const auto score : in.getScores())
    held.scores.push_back({score.getEpoch(), score.getValue()});
  held.outcome.kind = static_cast<Outcome::Kind>(in.getOutcome());
  held.outcome.value = in.getValue();
  held.outcome.seconds = in.getSeconds();
  held.outcome.failure = static_cast<Failure>(in.getFailure());
  held.outcome.reason = Text(in.getReason());
  held.outcome.log = Text(in.getLog());
  return held;
}

GroupReport Read(schema::GroupReport::Reader in) {
  GroupReport report;
  report.group.name = Text(in.getName());
  report.group.incarnation = in.getIncarnation();
  report.group.state = static_cast<GroupState>(in.getState());
  report.group.slots = in.getSlots();
  report.group.ranks = in.getRanks();
  report.group.host = Text(in.getHost());
  report.group.device = Text(in.getDevice());
  report.group.process = in.getProcess();
  report.sequence = in.getSequence();
  report.settings = Text(in.getSettings());
  report.ready = in.getReady();
  for (const auto trial : in.getTrials()) report.trials.push_back(Read(trial));
  return report;
}

Assignment Read(schema::Assignment::Reader in) {
  Assignment assignment;
  assignment.incarnation = in.getIncarnation();
  assignment.number = in.getNumber();
  assignment.group_incarnation = in.getGroupIncarnation();
  assignment.heard = in.getHeard();
  assignment.lease_seconds = in.getLeaseSeconds();
  assignment.heartbeat_seconds = in.getHeartbeatSeconds();
  assignment.refused = Text(in.getRefused());
  assignment.study = Text(in.getStudy());
  assignment.phase = static_cast<StudyPhase>(in.getPhase());
  assignment.reason = Text(in.getReason());
  for (const auto trial : in.getTrials()) {
    assignment.trials.push_back(
        {{trial.getTrial(), trial.getAttempt()}, Text(trial.getWork()), trial.getKnownEpoch()});
  }
  for (const auto id : in.getSettled())
    assignment.settled.push_back({id.getTrial(), id.getAttempt()});
  return assignment;
}

bool IsTrial(const TrialAttempt& id) { return id.trial >= 0 && id.attempt >= 1; }

bool IsHonest(const HeldTrial& held) {
  const Outcome& outcome = held.outcome;
  const auto is_score = [](const Score& score) {
    return score.epoch >= 1 && std::isfinite(score.value);
  };
  return IsTrial(held.id) && held.scores.size() <= kMostScores &&
         std::all_of(held.scores.begin(), held.scores.end(), is_score) &&
         outcome.kind <= Outcome::Kind::kReleased && std::isfinite(outcome.value) &&
         std::isfinite(outcome.seconds) && outcome.failure <= Failure::kLost;
}

bool IsHonest(const GroupReport& report) {
  const GroupRecord& group = report.group;
  return IsGroupName(group.name) && group.incarnation > 0 && group.state <= GroupState::kLeft &&
         group.slots >= 1 && group.slots <= 1000 && group.ranks >= 1 &&
         std::all_of(report.trials.begin(), report.trials.end(),
                     [](const HeldTrial& held) { return IsHonest(held); });
}

bool IsHonest(const Assignment& assignment) {
  const auto is_time = [](double seconds) { return seconds > 0 && seconds < 1e7; };
  return assignment.phase <= StudyPhase::kFailed && is_time(assignment.lease_seconds) &&
         is_time(assignment.heartbeat_seconds) &&
         std::all_of(assignment.trials.begin(), assignment.trials.end(),
                     [](const LeasedTrial& trial) { return IsTrial(trial.id); }) &&
         std::all_of(assignment.settled.begin(), assignment.settled.end(), IsTrial);
}

absl::Status CheckPrefix(const net::Message& message) {
  const net::Buffer& head = message.head;
  if (!message.frames.empty() || head.size() < sizeof(Prefix) + sizeof(capnp::word) ||
      head.size() % sizeof(capnp::word) != 0 || head.size() > kMostHeadBytes) {
    return DataError("malformed message of ", head.size(), " bytes and ", message.frames.size(),
                     " frames");
  }
  Prefix prefix;
  std::memcpy(&prefix, head.data(), sizeof(prefix));
  if (prefix.magic != Prefix{}.magic) {
    return DataError("malformed message: not one of MixRec's scheduler");
  }
  if (prefix.version != kProtocolVersion) {
    return DataError("message of protocol version ", prefix.version,
                     ", this program speaks version ", kProtocolVersion,
                     "; use the same version of mixrec everywhere");
  }
  return absl::OkStatus();
}

absl::StatusOr<Body> Parse(const net::Buffer& head) {
  const auto* words = reinterpret_cast<const capnp::word*>(head.data() + sizeof(Prefix));
  const size_t count = head.size() / sizeof(capnp::word) - 1;
  capnp::ReaderOptions limits;
  // An honest envelope names each of its words once; a hostile one, the same words over and over.
  limits.traversalLimitInWords = 2 * count + 256;
  limits.nestingLimit = 8;
  capnp::FlatArrayMessageReader reader(kj::arrayPtr(words, count), limits);
  const auto body = reader.getRoot<schema::Envelope>().getBody();
  if (body.isGroupReport()) {
    if (body.getGroupReport().getTrials().size() > kMostTrials) return DataError("too long");
    return Body(Read(body.getGroupReport()));
  }
  if (body.isAssignment()) {
    if (body.getAssignment().getTrials().size() > kMostTrials) return DataError("too long");
    return Body(Read(body.getAssignment()));
  }
  return DataError("malformed message: of a kind that this version does not know");
}

// The wall: Cap'n Proto speaks in exceptions.
absl::StatusOr<Body> ParseCaught(const net::Buffer& head) {
  try {
    return Parse(head);
  } catch (const kj::Exception& error) {
    return DataError("malformed message: ", error.getDescription().cStr());
  } catch (const std::exception& error) {
    return DataError("malformed message: ", error.what());
  }
}

}  // namespace

bool IsGroupName(const std::string& name) {
  return !name.empty() && name.size() <= 100 && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
         });
}

net::Message Encode(const Body& body) {
  capnp::MallocMessageBuilder builder;
  auto root = builder.initRoot<schema::Envelope>();
  std::visit([&](const auto& value) { Write(value, root.getBody()); }, body);
  const auto segments = builder.getSegmentsForOutput();
  const size_t bytes = capnp::computeSerializedSizeInWords(segments) * sizeof(capnp::word);
  net::Message message;
  message.head = net::Buffer::Make(sizeof(Prefix) + bytes, [&](char* out) {
    const Prefix prefix;
    std::memcpy(out, &prefix, sizeof(prefix));
    kj::ArrayOutputStream stream(
        kj::arrayPtr(reinterpret_cast<kj::byte*>(out + sizeof(prefix)), bytes));
    capnp::writeMessage(stream, segments);
  });
  return message;
}

absl::StatusOr<Body> Decode(const net::Message& message) {
  MIXREC_RETURN_IF_ERROR(CheckPrefix(message));
  net::Buffer head = message.head;
  if (reinterpret_cast<uintptr_t>(head.data()) % sizeof(capnp::word) != 0) {
    head = net::Buffer::Copy(head.bytes());
  }
  MIXREC_ASSIGN_OR_RETURN(Body body, ParseCaught(head));
  if (!std::visit([](const auto& value) { return IsHonest(value); }, body)) {
    return DataError("malformed message: a number or a name that cannot be");
  }
  return body;
}

}  // namespace mixrec::scheduler
