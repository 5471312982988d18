#include "ps/codec.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "wire_samples.h"

namespace mixrec::ps {
namespace {

using net::Buffer;
using net::Message;

std::string S(const Buffer& buffer) { return std::string(buffer.bytes()); }
auto K(const TableKey& key) { return std::tuple(key.space, key.table); }
auto R(const Replica& replica) { return std::tuple(replica.endpoint, replica.incarnation); }

// All fields of a body, comparable.
auto Fields(const OpenSession& b) {
  return std::tuple(b.space, b.rank, b.world, b.consistency, b.staleness, b.lease_seconds);
}
auto Fields(const RenewLease& b) { return std::tuple(b.space); }
auto Fields(const CreateTable& b) {
  std::vector<std::tuple<std::string, int64_t, double>> parts;
  for (const PartSpec& part : b.spec.parts) parts.emplace_back(part.name, part.width, part.stddev);
  const OptimizerOptions& o = b.spec.optimizer;
  return std::tuple(b.space, b.spec.name, b.spec.rows, parts, b.spec.partition, b.spec.dense,
                    b.spec.seed, o.kind, o.beta1, o.beta2, o.epsilon, o.weight_decay);
}
auto Fields(const Pull& b) { return std::tuple(K(b.key), b.step, b.at_least, S(b.ids)); }
auto Fields(const Push& b) {
  return std::tuple(K(b.key), b.step, b.part, b.parts, b.learning_rate, S(b.ids), S(b.gradients));
}
auto Fields(const SoftmaxForward& b) {
  return std::tuple(K(b.key), b.step, b.part, b.parts, b.sampled, b.log_uniform, b.width,
                    S(b.states), S(b.labels), b.at_least);
}
auto Fields(const SoftmaxBackward& b) {
  return std::tuple(K(b.key), b.step, b.part, b.parts, b.sampled, b.log_uniform, b.learning_rate,
                    b.width, S(b.log_sum_exp), S(b.weights), S(b.states), S(b.labels));
}
auto Fields(const TopK& b) {
  return std::tuple(K(b.key), b.step, b.k, b.width, S(b.states), S(b.exclude_offsets),
                    S(b.exclude_ids));
}
auto Fields(const Rank& b) {
  return std::tuple(K(b.key), b.step, b.width, S(b.states), S(b.targets), S(b.target_scores),
                    S(b.exclude_offsets), S(b.exclude_ids));
}
auto Fields(const Save& b) { return std::tuple(b.space, b.folder, b.step); }
auto Fields(const Restore& b) { return std::tuple(b.space, b.folder, b.step); }
auto Fields(const DropNamespace& b) { return std::tuple(b.space); }
auto Fields(const Stats&) { return std::tuple(); }
auto Fields(const GetMap&) { return std::tuple(); }
auto Fields(const Replicate& b) {
  std::vector<std::string> frames;
  for (const Buffer& frame : b.frames) frames.push_back(S(frame));
  return std::tuple(b.sequence, S(b.original), frames);
}
auto Fields(const Replicated& b) { return std::tuple(b.up_to); }
auto Fields(const StateImage& b) { return std::tuple(b.sequence, b.part, b.parts, S(b.bytes)); }
auto Fields(const StateImageReceived& b) { return std::tuple(b.sequence, b.part); }
auto Fields(const Heartbeat& b) {
  return std::tuple(b.endpoint, b.incarnation, b.slot, b.slot_epoch, b.caught_up);
}
auto Fields(const Done& b) { return std::tuple(b.version); }
auto Fields(const Rows& b) { return std::tuple(S(b.rows)); }
auto Fields(const SoftmaxPartial& b) {
  return std::tuple(S(b.maximum), S(b.sum), S(b.label_logits), S(b.label_rows), S(b.numerators));
}
auto Fields(const TopKLists& b) { return std::tuple(S(b.ids), S(b.scores)); }
auto Fields(const RankPartial& b) { return std::tuple(S(b.target_scores), S(b.counts)); }
auto Fields(const Saved& b) { return std::tuple(b.file, b.bytes, b.hash); }
auto Fields(const StatsReport& b) { return std::tuple(b.json); }
auto Fields(const Map& b) {
  std::vector<std::tuple<uint64_t, uint64_t, int64_t, int64_t, decltype(R({})), decltype(R({})),
                         decltype(R({}))>>
      slots;
  for (const ShardSlot& slot : b.map.slots) {
    slots.emplace_back(slot.epoch, slot.lineage, slot.buckets.first, slot.buckets.last,
                       R(slot.primary), R(slot.backup), R(slot.learner));
  }
  return std::tuple(b.map.version, slots);
}
auto Fields(const Envelope& e) {
  return std::tuple(e.request, e.incarnation, e.epoch, e.done_below, e.slot, e.code, e.text);
}

std::vector<Message> SampleMessages() {
  std::vector<Message> messages;
  for (Body& body : SampleBodies()) messages.push_back(Encode(SampleWire(std::move(body))));
  return messages;
}

bool IsDataError(const Message& message) {
  return Decode(message).status().code() == absl::StatusCode::kDataLoss;
}

TEST(Codec, ThereIsASampleOfEveryBody) {
  const auto bodies = SampleBodies();
  ASSERT_EQ(bodies.size(), std::variant_size_v<Body>);
  for (size_t i = 0; i < bodies.size(); ++i) EXPECT_EQ(bodies[i].index(), i);
}

TEST(Codec, EveryFieldOfEveryBodyComesBack) {
  for (const Body& body : SampleBodies()) {
    const auto back = Decode(Encode(SampleWire(body)));
    ASSERT_TRUE(back.ok()) << body.index() << ": " << back.status().message();
    ASSERT_EQ(back->body.index(), body.index());
    EXPECT_EQ(Fields(back->envelope), Fields(SampleWire({}).envelope));
    std::visit(
        [&](const auto& sent) {
          EXPECT_EQ(Fields(std::get<std::decay_t<decltype(sent)>>(back->body)), Fields(sent));
        },
        body);
  }
}

TEST(Codec, FramesAreSharedNotCopied) {
  const Buffer rows = Floats(std::vector<float>(2048 * 64));
  const Message message = Encode(SampleWire(Rows{rows}));
  EXPECT_EQ(message.frames[0].data(), rows.data());
  EXPECT_EQ(std::get<Rows>(Decode(message)->body).rows.data(), rows.data());
}

TEST(Codec, AMisalignedMessageIsRead) {
  Message message = Encode(SampleWire(Pull{{"s", "t"}, 1, 0, Ints({1, 2, 3})}));
  for (Buffer* buffer : {&message.head, &message.frames[0]}) {
    const std::string shifted = " " + S(*buffer);
    *buffer = Buffer::Copy(shifted).Slice(1, buffer->size());
  }
  const auto wire = Decode(message);
  ASSERT_TRUE(wire.ok()) << wire.status().message();
  const Buffer& ids = std::get<Pull>(wire->body).ids;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(ids.data()) % 4, 0u);
  EXPECT_EQ(S(ids), S(Ints({1, 2, 3})));
}

TEST(Codec, AHeadCutAtAnyByteIsADataError) {
  for (const Message& message : SampleMessages()) {
    for (size_t size = 0; size < message.head.size(); ++size) {
      Message cut = message;
      cut.head = Buffer::Copy(message.head.data(), size);  // its own memory: asan sees the end
      EXPECT_TRUE(IsDataError(cut)) << size << " of " << message.head.size();
    }
  }
}

// Whether frame `i` may have `size` bytes too: only the shard knows how wide a table is, how many
// rows were asked for and how many labels are elsewhere.
bool AlsoFits(const Body& body, size_t i, size_t size) {
  if (std::holds_alternative<Pull>(body) || std::holds_alternative<Rows>(body) ||
      std::holds_alternative<RankPartial>(body)) {
    return size % 4 == 0;
  }
  if (std::holds_alternative<Push>(body)) return size > 0 && size % (i == 0 ? 4 : 8) == 0;
  if (std::holds_alternative<Rank>(body)) return i == 2 && size == 0;
  if (std::holds_alternative<SoftmaxPartial>(body)) return i == 3 && size % 12 == 0;
  return std::holds_alternative<Replicate>(body) ? i > 0 || size > 0
                                                 : std::holds_alternative<StateImage>(body);
}

TEST(Codec, AFrameCutAtAnyByteIsADataErrorWhereItsSizeIsKnown) {
  for (const Message& message : SampleMessages()) {
    const Body body = Decode(message)->body;
    for (size_t i = 0; i < message.frames.size(); ++i) {
      for (size_t size = 0; size < message.frames[i].size(); ++size) {
        Message cut = message;
        cut.frames[i] = Buffer::Copy(message.frames[i].data(), size);
        EXPECT_EQ(IsDataError(cut), !AlsoFits(body, i, size))
            << "body " << body.index() << ", frame " << i << ", " << size << " bytes";
      }
    }
  }
}

TEST(Codec, AMissingOrSuperfluousFrameIsADataError) {
  for (const Message& message : SampleMessages()) {
    if (std::holds_alternative<Replicate>(Decode(message)->body)) continue;
    Message more = message;
    more.frames.emplace_back();
    EXPECT_TRUE(IsDataError(more));
    if (message.frames.empty()) continue;
    Message fewer = message;
    fewer.frames.pop_back();
    EXPECT_TRUE(IsDataError(fewer));
  }
}

TEST(Codec, AnotherMagicVersionOrTrailingWordIsADataError) {
  const Message good = Encode(SampleWire(Stats{}));
  for (const size_t byte : {0, 3, 4, 7}) {
    std::string head = S(good.head);
    head[byte] = static_cast<char>(head[byte] + 1);
    EXPECT_TRUE(IsDataError({Buffer::Copy(head), {}})) << byte;
  }
  EXPECT_TRUE(IsDataError({Buffer::Copy(S(good.head) + std::string(8, '\0')), {}}));
  std::string version = S(good.head);
  version[4] = 9;
  const auto wire = Decode({Buffer::Copy(version), {}});
  EXPECT_NE(wire.status().message().find("protocol version 9"), std::string::npos);
}

TEST(Codec, ANumberThatLiesIsADataError) {
  const TableKey key{"s", "t"};
  const Buffer states = Floats({1, 2, 3, 4, 5, 6}), labels = Ints({4, 9});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  TableSpec wide = SampleSpec(), rows = SampleSpec(), optimizer = SampleSpec(),
            empty = SampleSpec();
  wide.parts[0].width = int64_t{1} << 60;
  rows.rows = int64_t{1} << 40;
  optimizer.optimizer.kind = static_cast<Optimizer>(3);
  empty.parts.clear();
  ShardMap map = SampleMap();
  map.slots[0].buckets.last = kBuckets + 1;
  const Body lies[] = {
      OpenSession{"s", 4, 4},
      OpenSession{"s", -1, 4},
      OpenSession{"s", 0, 4, static_cast<Consistency>(3)},
      CreateTable{"s", wide},
      CreateTable{"s", rows},
      CreateTable{"s", optimizer},
      CreateTable{"s", empty},
      Pull{key, -1, 0, labels},
      Push{key, 0, 1, 1, 0.1, labels, states},
      Push{key, 0, 0, 0, 0.1, labels, states},
      Push{key, 0, 0, 1, nan, labels, states},
      Push{key, 0, 0, 1, 0.1, {}, states},
      SoftmaxForward{key, 0, 0, 1, 0, false, 0, states, labels},
      SoftmaxForward{key, 0, 0, 1, 0, false, int64_t{1} << 62, states, labels},
      SoftmaxForward{key, 0, 0, 1, 0, false, 2, states, labels},
      SoftmaxForward{key, 0, 0, 1, -1, false, 3, states, labels},
      TopK{key, 0, 0, 3, states, {}, {}},
      TopK{key, 0, 1, 3, states, Ints({0, 2, 1}), Ints({1})},
      TopK{key, 0, 1, 3, states, Ints({0, -1, 1}), Ints({1})},
      TopK{key, 0, 1, 3, states, Ints({1, 1, 1}), Ints({1})},
      TopK{key, 0, 1, 3, states, Ints({0, 1, 1 << 30}), Ints({1})},
      TopK{key, 0, 1, 3, states, {}, Ints({1})},
      Restore{std::string("a\nb"), "folder", 0},
      Save{"s", std::string("folder\0", 7), 0},
      Replicate{1, {}, {}},
      StateImage{1, 2, 2, {}},
      SoftmaxPartial{labels, labels, labels, Floats({1, 2, 3, 4, 5, 6, 7, 8, 9}), states},
      Map{map},
  };
  for (const Body& lie : lies) {
    EXPECT_TRUE(IsDataError(Encode(SampleWire(lie)))) << "body " << lie.index();
  }
  Wire wire = SampleWire(Stats{});
  wire.envelope.code = static_cast<Code>(200);
  EXPECT_TRUE(IsDataError(Encode(wire)));
  wire = SampleWire(Stats{});
  wire.envelope.slot = 1 << 20;
  EXPECT_TRUE(IsDataError(Encode(wire)));
}

// Whatever the bytes of an envelope are, what is accepted can be said again and means the same.
TEST(Codec, AnyByteMayBeAnything) {
  for (const Message& message : SampleMessages()) {
    for (size_t i = 8; i < message.head.size(); ++i) {
      for (const int flip : {1, 0x80, 0xFF}) {
        std::string head = S(message.head);
        head[i] = static_cast<char>(head[i] ^ flip);
        const auto wire = Decode({Buffer::Copy(head), message.frames});
        if (wire.ok()) {
          EXPECT_TRUE(Decode(Encode(*wire)).ok());
        }
      }
    }
  }
}

}  // namespace
}  // namespace mixrec::ps
