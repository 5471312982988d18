#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <utility>

#include "net/simulation.h"
#include "ps/authority.h"
#include "ps/client.h"
#include "ps/shard.h"

namespace mixrec::ps {
namespace {

constexpr char kAuthority[] = "tcp://authority:1", kShard[] = "tcp://shard:1";

TableSpec SmallTable() {
  TableSpec spec;
  spec.name = "rows";
  spec.rows = 10;
  spec.parts = {{"rows", 4, 0.1}};
  return spec;
}

// An authority and its only shard.
void AddServers(net::Simulation* network) {
  network->Add(kAuthority, std::make_unique<Authority>(AuthorityOptions{}));
  ShardOptions shard;
  shard.endpoint = kShard;
  shard.authority = kAuthority;
  network->Add(kShard, std::make_unique<Shard>(shard));
}

ClientOptions Options(int rank, int world, int64_t lease_seconds) {
  ClientOptions options;
  options.caller.servers = {kAuthority};
  options.caller.incarnation = IncarnationAt(1, rank);
  options.session.space = "space";
  options.session.rank = rank;
  options.session.world = world;
  options.session.consistency = Consistency::kAsp;
  options.session.lease_seconds = lease_seconds;
  return options;
}

// A worker that opens its session and makes its table, then does nothing.
class Worker {
 public:
  Worker(net::Simulation* network, const ClientOptions& options)
      : network_(network), name_(StrCat("worker", options.session.rank)) {
    auto client = std::make_unique<Client>(options);
    client_ = client.get();
    network_->Add(name_, std::move(client));
    network_->RunUntil([&] { return client_->connected(); }, network_->now() + net::kSecond);
    EXPECT_TRUE(Do([&](auto done) { client_->Open(done); }).ok());
    EXPECT_TRUE(Do([&](auto done) { client_->CreateTable(SmallTable(), done); }).ok());
  }

  // What comes of a call within five seconds.
  template <typename Call>
  absl::Status Do(Call call) {
    auto result = std::make_shared<absl::Status>(FailureError("no answer"));
    network_->Post(name_, [this, call, result](net::Outbox* out) {
      call([result](absl::Status status) { *result = std::move(status); });
      client_->Tick(out);
    });
    network_->RunUntil([&] { return result->ok(); }, network_->now() + 5 * net::kSecond);
    return *result;
  }

  absl::Status Push(int64_t step) {
    return Do([&](auto done) {
      client_->Push("rows", step, 1e-2, {1, 2}, at::ones({2, 4}), done);
    });
  }

 private:
  net::Simulation* network_;
  net::Peer name_;
  Client* client_ = nullptr;
};

TEST(PsClient, IdleWorkerKeepsItsNamespace) {
  net::Simulation network(1);
  AddServers(&network);
  Worker worker(&network, Options(0, 1, /*lease_seconds=*/6));
  ASSERT_TRUE(worker.Push(0).ok());
  network.RunUntil(network.now() + 100 * net::kSecond);
  const absl::Status late = worker.Push(1);
  EXPECT_TRUE(late.ok()) << late;
}

TEST(PsClient, RanksThatStartInTheSameMicrosecondAreNotTakenForEachOther) {
  net::Simulation network(1);
  AddServers(&network);
  Worker first(&network, Options(0, 2, 60)), second(&network, Options(1, 2, 60));
  for (int64_t step = 0; step < 3; ++step) EXPECT_TRUE(first.Push(step).ok()) << step;
  for (int64_t step = 0; step < 3; ++step) {
    const absl::Status status = second.Push(step);
    EXPECT_TRUE(status.ok()) << step << ": " << status;
  }
}

TEST(PsClient, IncarnationsGrowWithTimeAndDifferBetweenRanks) {
  std::set<uint64_t> seen;
  for (int rank = 0; rank < 4096; ++rank) seen.insert(IncarnationAt(1764500000000000, rank));
  EXPECT_EQ(seen.size(), 4096u);
  EXPECT_LT(*seen.rbegin(), IncarnationAt(1764500000000001, 0));
}

}  // namespace
}  // namespace mixrec::ps
