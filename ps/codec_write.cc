#include <string>

#include "ps/codec_parts.h"

namespace mixrec::ps {
namespace {

using Out = schema::Envelope::Body::Builder;

capnp::Text::Reader Text(const std::string& text) { return {text.c_str(), text.size()}; }

template <typename Builder>
void WriteKey(const TableKey& key, Builder out) {
  out.setSpace(Text(key.space));
  out.setTable(Text(key.table));
}

void Write(const OpenSession& body, Out out) {
  auto session = out.initOpenSession();
  session.setSpace(Text(body.space));
  session.setRank(body.rank);
  session.setWorld(body.world);
  session.setConsistency(static_cast<uint8_t>(body.consistency));
  session.setStaleness(body.staleness);
  session.setLeaseSeconds(body.lease_seconds);
}

void WriteOptimizer(const OptimizerOptions& options, schema::Optimizer::Builder out) {
  out.setKind(static_cast<uint8_t>(options.kind));
  out.setBeta1(options.beta1);
  out.setBeta2(options.beta2);
  out.setEpsilon(options.epsilon);
  out.setWeightDecay(options.weight_decay);
}

void Write(const CreateTable& body, Out out) {
  auto table = out.initCreateTable();
  table.setSpace(Text(body.space));
  table.setName(Text(body.spec.name));
  table.setRows(body.spec.rows);
  table.setPartition(static_cast<uint8_t>(body.spec.partition));
  table.setDense(body.spec.dense);
  table.setSeed(body.spec.seed);
  WriteOptimizer(body.spec.optimizer, table.initOptimizer());
  auto parts = table.initParts(static_cast<unsigned>(body.spec.parts.size()));
  for (unsigned i = 0; i < parts.size(); ++i) {
    parts[i].setName(Text(body.spec.parts[i].name));
    parts[i].setWidth(body.spec.parts[i].width);
    parts[i].setStddev(body.spec.parts[i].stddev);
  }
}

void Write(const Pull& body, Out out) {
  auto pull = out.initPull();
  WriteKey(body.key, pull);
  pull.setStep(body.step);
  pull.setAtLeast(body.at_least);
}

void Write(const Push& body, Out out) {
  auto push = out.initPush();
  WriteKey(body.key, push);
  push.setStep(body.step);
  push.setPart(body.part);
  push.setParts(body.parts);
  push.setLearningRate(body.learning_rate);
}

template <typename Half>
void WriteSoftmax(const Half& body, schema::Softmax::Builder out) {
  WriteKey(body.key, out);
  out.setStep(body.step);
  out.setPart(body.part);
  out.setParts(body.parts);
  out.setSampled(body.sampled);
  out.setLogUniform(body.log_uniform);
  out.setWidth(body.width);
}
void Write(const SoftmaxForward& body, Out out) {
  auto softmax = out.initSoftmaxForward();
  WriteSoftmax(body, softmax);
  softmax.setAtLeast(body.at_least);
}
void Write(const SoftmaxBackward& body, Out out) {
  auto softmax = out.initSoftmaxBackward();
  WriteSoftmax(body, softmax);
  softmax.setLearningRate(body.learning_rate);
}

void Write(const TopK& body, Out out) {
  auto top = out.initTopK();
  WriteKey(body.key, top);
  top.setStep(body.step);
  top.setK(body.k);
  top.setWidth(body.width);
}

void Write(const Rank& body, Out out) {
  auto rank = out.initRank();
  WriteKey(body.key, rank);
  rank.setStep(body.step);
  rank.setWidth(body.width);
}

template <typename B>
void WriteSnapshot(const B& body, schema::Snapshot::Builder out) {
  out.setSpace(Text(body.space));
  out.setFolder(Text(body.folder));
  out.setStep(body.step);
}
void Write(const Save& body, Out out) { WriteSnapshot(body, out.initSave()); }
void Write(const Restore& body, Out out) { WriteSnapshot(body, out.initRestore()); }

void Write(const StateImage& body, Out out) {
  auto piece = out.initStateImage();
  piece.setSequence(body.sequence);
  piece.setPart(body.part);
  piece.setParts(body.parts);
}
void Write(const StateImageReceived& body, Out out) {
  auto piece = out.initStateImageReceived();
  piece.setSequence(body.sequence);
  piece.setPart(body.part);
}

void Write(const Heartbeat& body, Out out) {
  auto heartbeat = out.initHeartbeat();
  heartbeat.setEndpoint(Text(body.endpoint));
  heartbeat.setIncarnation(body.incarnation);
  heartbeat.setSlot(body.slot);
  heartbeat.setSlotEpoch(body.slot_epoch);
  heartbeat.setCaughtUp(body.caught_up);
}

void Write(const Saved& body, Out out) {
  auto saved = out.initSaved();
  saved.setFile(Text(body.file));
  saved.setBytes(body.bytes);
  saved.setHash(Text(body.hash));
}

void WriteReplica(const Replica& replica, schema::Replica::Builder out) {
  out.setEndpoint(Text(replica.endpoint));
  out.setIncarnation(replica.incarnation);
}

void Write(const Map& body, Out out) {
  auto map = out.initMap();
  map.setVersion(body.map.version);
  auto slots = map.initSlots(static_cast<unsigned>(body.map.slots.size()));
  for (unsigned i = 0; i < slots.size(); ++i) {
    const ShardSlot& slot = body.map.slots[i];
    slots[i].setEpoch(slot.epoch);
    slots[i].setLineage(slot.lineage);
    slots[i].setFirstBucket(slot.buckets.first);
    slots[i].setLastBucket(slot.buckets.last);
    WriteReplica(slot.primary, slots[i].initPrimary());
    WriteReplica(slot.backup, slots[i].initBackup());
    WriteReplica(slot.learner, slots[i].initLearner());
  }
}

// Bodies that are one value, or nothing but frames.
void Write(const RenewLease& body, Out out) { out.setRenewLease(Text(body.space)); }
void Write(const DropNamespace& body, Out out) { out.setDropNamespace(Text(body.space)); }
void Write(const StatsReport& body, Out out) { out.setStatsReport(Text(body.json)); }
void Write(const Replicate& body, Out out) { out.setReplicate(body.sequence); }
void Write(const Replicated& body, Out out) { out.setReplicated(body.up_to); }
void Write(const Done& body, Out out) { out.setDone(body.version); }
void Write(const Stats&, Out out) { out.setStats(); }
void Write(const GetMap&, Out out) { out.setGetMap(); }
void Write(const Rows&, Out out) { out.setRows(); }
void Write(const SoftmaxPartial&, Out out) { out.setSoftmaxPartial(); }
void Write(const TopKLists&, Out out) { out.setTopKLists(); }
void Write(const RankPartial&, Out out) { out.setRankPartial(); }

}  // namespace

void WriteBody(const Body& body, Out out) {
  std::visit([&](const auto& it) { Write(it, out); }, body);
}

}  // namespace mixrec::ps
