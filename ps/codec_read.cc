#include <string>
#include <utility>

#include "ps/codec_parts.h"

namespace mixrec::ps {
namespace {

using In = schema::Envelope::Body;

std::string Text(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

template <typename Reader>
TableKey ReadKey(Reader in) {
  return {Text(in.getSpace()), Text(in.getTable())};
}

OpenSession Read(schema::OpenSession::Reader in) {
  OpenSession body;
  body.space = Text(in.getSpace());
  body.rank = in.getRank();
  body.world = in.getWorld();
  body.consistency = static_cast<Consistency>(in.getConsistency());
  body.staleness = in.getStaleness();
  body.lease_seconds = in.getLeaseSeconds();
  return body;
}

OptimizerOptions Read(schema::Optimizer::Reader in) {
  OptimizerOptions options;
  options.kind = static_cast<Optimizer>(in.getKind());
  options.beta1 = in.getBeta1();
  options.beta2 = in.getBeta2();
  options.epsilon = in.getEpsilon();
  options.weight_decay = in.getWeightDecay();
  return options;
}

CreateTable Read(schema::CreateTable::Reader in) {
  CreateTable body;
  body.space = Text(in.getSpace());
  body.spec.name = Text(in.getName());
  body.spec.rows = in.getRows();
  body.spec.partition = static_cast<Partition>(in.getPartition());
  body.spec.dense = in.getDense();
  body.spec.seed = in.getSeed();
  body.spec.optimizer = Read(in.getOptimizer());
  for (const auto part : in.getParts()) {
    body.spec.parts.push_back({Text(part.getName()), part.getWidth(), part.getStddev()});
  }
  return body;
}

Pull Read(schema::Pull::Reader in) {
  Pull body;
  body.key = ReadKey(in);
  body.step = in.getStep();
  body.at_least = in.getAtLeast();
  return body;
}

Push Read(schema::Push::Reader in) {
  Push body;
  body.key = ReadKey(in);
  body.step = in.getStep();
  body.part = in.getPart();
  body.parts = in.getParts();
  body.learning_rate = in.getLearningRate();
  return body;
}

template <typename Half>
Half ReadSoftmax(schema::Softmax::Reader in) {
  Half body;
  body.key = ReadKey(in);
  body.step = in.getStep();
  body.part = in.getPart();
  body.parts = in.getParts();
  body.sampled = in.getSampled();
  body.log_uniform = in.getLogUniform();
  body.width = in.getWidth();
  return body;
}
SoftmaxForward ReadForward(schema::Softmax::Reader in) {
  auto body = ReadSoftmax<SoftmaxForward>(in);
  body.at_least = in.getAtLeast();
  return body;
}
SoftmaxBackward ReadBackward(schema::Softmax::Reader in) {
  auto body = ReadSoftmax<SoftmaxBackward>(in);
  body.learning_rate = in.getLearningRate();
  return body;
}

TopK Read(schema::TopK::Reader in) {
  TopK body;
  body.key = ReadKey(in);
  body.step = in.getStep();
  body.k = in.getK();
  body.width = in.getWidth();
  return body;
}

Rank Read(schema::Rank::Reader in) {
  Rank body;
  body.key = ReadKey(in);
  body.step = in.getStep();
  body.width = in.getWidth();
  return body;
}

template <typename B>
B ReadSnapshot(schema::Snapshot::Reader in) {
  return {Text(in.getSpace()), Text(in.getFolder()), in.getStep()};
}

StateImage ReadImage(schema::Piece::Reader in) {
  return {in.getSequence(), in.getPart(), in.getParts(), {}};
}

Heartbeat Read(schema::Heartbeat::Reader in) {
  return {Text(in.getEndpoint()), in.getIncarnation(), in.getSlot(), in.getSlotEpoch(),
          in.getCaughtUp()};
}

Saved Read(schema::Saved::Reader in) {
  return {Text(in.getFile()), in.getBytes(), Text(in.getHash())};
}

Replica Read(schema::Replica::Reader in) { return {Text(in.getEndpoint()), in.getIncarnation()}; }

Map Read(schema::Map::Reader in) {
  Map body;
  body.map.version = in.getVersion();
  for (const auto slot : in.getSlots()) {
    body.map.slots.push_back({slot.getEpoch(),
                              slot.getLineage(),
                              {slot.getFirstBucket(), slot.getLastBucket()},
                              Read(slot.getPrimary()),
                              Read(slot.getBackup()),
                              Read(slot.getLearner())});
  }
  return body;
}

// Of a list, before memory is taken for it: no map has more slots than there are buckets.
absl::Status CheckLength(unsigned length) {
  if (length <= kBuckets) return absl::OkStatus();
  return DataError("malformed message: a list of ", length);
}

}  // namespace

absl::StatusOr<Body> ReadBody(In::Reader in) {
  switch (in.which()) {
    case In::OPEN_SESSION:
      return Read(in.getOpenSession());
    case In::RENEW_LEASE:
      return RenewLease{Text(in.getRenewLease())};
    case In::CREATE_TABLE:
      MIXREC_RETURN_IF_ERROR(CheckLength(in.getCreateTable().getParts().size()));
      return Read(in.getCreateTable());
    case In::PULL:
      return Read(in.getPull());
    case In::PUSH:
      return Read(in.getPush());
    case In::SOFTMAX_FORWARD:
      return ReadForward(in.getSoftmaxForward());
    case In::SOFTMAX_BACKWARD:
      return ReadBackward(in.getSoftmaxBackward());
    case In::TOP_K:
      return Read(in.getTopK());
    case In::RANK:
      return Read(in.getRank());
    case In::SAVE:
      return ReadSnapshot<Save>(in.getSave());
    case In::RESTORE:
      return ReadSnapshot<Restore>(in.getRestore());
    case In::DROP_NAMESPACE:
      return DropNamespace{Text(in.getDropNamespace())};
    case In::STATS:
      return Stats{};
    case In::GET_MAP:
      return GetMap{};
    case In::REPLICATE:
      return Replicate{in.getReplicate(), {}, {}};
    case In::REPLICATED:
      return Replicated{in.getReplicated()};
    case In::STATE_IMAGE:
      return ReadImage(in.getStateImage());
    case In::STATE_IMAGE_RECEIVED:
      return StateImageReceived{in.getStateImageReceived().getSequence(),
                                in.getStateImageReceived().getPart()};
    case In::HEARTBEAT:
      return Read(in.getHeartbeat());
    case In::DONE:
      return Done{in.getDone()};
    case In::ROWS:
      return Rows{};
    case In::SOFTMAX_PARTIAL:
      return SoftmaxPartial{};
    case In::TOP_K_LISTS:
      return TopKLists{};
    case In::RANK_PARTIAL:
      return RankPartial{};
    case In::SAVED:
      return Read(in.getSaved());
    case In::STATS_REPORT:
      return StatsReport{Text(in.getStatsReport())};
    case In::MAP:
      MIXREC_RETURN_IF_ERROR(CheckLength(in.getMap().getSlots().size()));
      return Read(in.getMap());
  }
  return DataError("malformed message: of kind ", static_cast<int>(in.which()),
                   ", which this version does not know");
}

}  // namespace mixrec::ps
