#include "ps/authority.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "ps/codec.h"

namespace mixrec::ps {
namespace {

using net::kSecond;

// An authority that hears heartbeats, each shard's from its map.
class AuthorityFixture {
 public:
  AuthorityFixture(int shards, int replicas)
      : authority_({shards, replicas, 10 * kSecond, {}, {}, {}}) {
    net::Outbox out(0);
    authority_.Start(&out);
  }

  void Join(const std::string& endpoint, uint64_t incarnation) {
    members_.push_back({endpoint, incarnation});
  }
  void Lose(uint64_t incarnation) {
    members_.erase(std::remove_if(members_.begin(), members_.end(),
                                  [&](const Replica& it) { return it.incarnation == incarnation; }),
                   members_.end());
  }
  // All members speak, and say what the map says of them.
  void Beat(net::Time now) {
    for (const Replica& member : members_) {
      Heartbeat heartbeat{member.endpoint, member.incarnation, -1, 0, true};
      for (size_t slot = 0; slot < map().slots.size(); ++slot) {
        if (map().slots[slot].primary == member) {
          heartbeat.slot = static_cast<int32_t>(slot);
          heartbeat.slot_epoch = map().slots[slot].epoch;
        }
      }
      net::Outbox out(now);
      authority_.Receive(member.endpoint, Encode({Envelope(), heartbeat}), &out);
    }
  }
  const ShardMap& map() const { return authority_.map(); }

 private:
  Authority authority_;
  std::vector<Replica> members_;
};

std::string HostOf(const Replica& replica) {
  return replica.endpoint.substr(0, replica.endpoint.rfind(':'));
}

TEST(Authority, WaitsUntilThereIsSomebodyForEveryPlace) {
  AuthorityFixture fixture(2, 1);
  for (const int port : {1, 2, 3}) fixture.Join(StrCat("tcp://a:", port), 10 + port);
  fixture.Beat(kSecond);
  EXPECT_TRUE(fixture.map().slots.empty());
  fixture.Join("tcp://a:4", 14);
  fixture.Beat(2 * kSecond);
  ASSERT_EQ(fixture.map().slots.size(), 2u);
  EXPECT_EQ(fixture.map().slots[0].buckets, EvenBuckets(0, 2));
  EXPECT_EQ(fixture.map().slots[1].buckets, EvenBuckets(1, 2));
}

TEST(Authority, ReplicasOfAShardAreInDifferentProcesses) {
  AuthorityFixture fixture(3, 1);
  // Three processes with two sockets each.
  for (const int port : {1, 2, 3, 4, 5, 6}) {
    fixture.Join(StrCat("tcp://a:", port), static_cast<uint64_t>(port + 1) / 2);
  }
  fixture.Beat(kSecond);
  ASSERT_EQ(fixture.map().slots.size(), 3u);
  std::set<std::string> used;
  for (const ShardSlot& slot : fixture.map().slots) {
    EXPECT_NE(slot.primary.incarnation, slot.backup.incarnation);
    used.insert({slot.primary.endpoint, slot.backup.endpoint});
  }
  EXPECT_EQ(used.size(), 6u);
}

TEST(Authority, OneProcessIsNoBackupOfItself) {
  AuthorityFixture fixture(1, 1);
  fixture.Join("tcp://a:1", 1);
  fixture.Join("tcp://a:2", 1);
  fixture.Beat(kSecond);
  EXPECT_TRUE(fixture.map().slots.empty());
}

TEST(Authority, ReplicasOfAShardAreOnDifferentHosts) {
  AuthorityFixture fixture(3, 1);
  for (const int port : {1, 2, 3}) fixture.Join(StrCat("tcp://a:", port), 10 + port);
  for (const int port : {1, 2, 3}) fixture.Join(StrCat("tcp://b:", port), 20 + port);
  fixture.Beat(kSecond);
  ASSERT_EQ(fixture.map().slots.size(), 3u);
  for (const ShardSlot& slot : fixture.map().slots) {
    EXPECT_NE(HostOf(slot.primary), HostOf(slot.backup));
  }
}

TEST(Authority, ALostProcessIsReplacedInAllItsShards) {
  AuthorityFixture fixture(2, 1);
  for (const int port : {1, 2}) fixture.Join(StrCat("tcp://a:", port), 1);
  for (const int port : {3, 4}) fixture.Join(StrCat("tcp://a:", port), 2);
  fixture.Beat(kSecond);
  ASSERT_EQ(fixture.map().slots.size(), 2u);
  const ShardMap before = fixture.map();
  fixture.Lose(1);
  for (int second = 2; second < 14; ++second) fixture.Beat(second * kSecond);
  for (const ShardSlot& slot : fixture.map().slots) {
    EXPECT_EQ(slot.primary.incarnation, 2u);
    EXPECT_EQ(slot.backup.endpoint, "");
    EXPECT_EQ(slot.learner.endpoint, "");
    EXPECT_EQ(slot.lineage, 1u);  // the rows are those of before
    EXPECT_GT(slot.epoch, 1u);
  }
  // The next life of the process learns both, and is the backup once it has.
  for (const int port : {5, 6}) fixture.Join(StrCat("tcp://a:", port), 3);
  for (int second = 14; second < 17; ++second) fixture.Beat(second * kSecond);
  for (const ShardSlot& slot : fixture.map().slots) EXPECT_EQ(slot.backup.incarnation, 3u);
  EXPECT_GT(fixture.map().version, before.version);
}

TEST(Authority, WithoutAJournalEntryThereIsNoDecision) {
  AuthorityOptions options;
  bool disk_is_full = true;
  std::string said;
  options.journal = [&](const ShardMap&) {
    return disk_is_full ? FailureError("no space left") : absl::OkStatus();
  };
  options.report = [&](const std::string& text) { said = text; };
  Authority authority(options);
  net::Outbox out(0);
  authority.Start(&out);
  const net::Message beat = Encode({Envelope(), Heartbeat{"tcp://a:1", 1, -1, 0, false}});
  authority.Receive("tcp://a:1", beat, &out);
  EXPECT_TRUE(authority.map().slots.empty());
  EXPECT_THAT(said, ::testing::HasSubstr("no space left"));
  disk_is_full = false;
  authority.Receive("tcp://a:1", beat, &out);
  EXPECT_EQ(authority.map().slots.size(), 1u);
}

TEST(Authority, TheJournalsMapIsReadBack) {
  AuthorityFixture fixture(2, 0);
  for (const int port : {1, 2}) fixture.Join(StrCat("tcp://a:", port), 10 + port);
  fixture.Beat(kSecond);
  const auto map = MapFromJson(MapToJson(fixture.map()));
  ASSERT_TRUE(map.ok());
  EXPECT_EQ(MapToJson(*map), MapToJson(fixture.map()));
  EXPECT_FALSE(MapFromJson("{\"version\":1}").ok());
}

}  // namespace
}  // namespace mixrec::ps
