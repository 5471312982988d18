#include "collective/local_world.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "collective/engine.h"
#include "collective/host_group.h"
#include "common/log.h"

namespace mixrec::collective {

// What is under way between all ranks.
struct LocalWorld::Hub {
  explicit Hub(int ranks) : dead(static_cast<size_t>(ranks)) {}
  std::mutex mutex;
  std::condition_variable arrived;
  std::map<std::tuple<int, int, int>, std::deque<std::string>> messages;  // (from, to, tag)
  std::map<int, std::deque<std::pair<int, Control>>> controls;            // by receiver
  std::vector<std::atomic<bool>> dead;
};

class LocalWorld::HubTransport : public Transport {
 public:
  HubTransport(Hub* hub, int rank, int size) : hub_(hub), rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  Request Send(int to, int tag, const void* bytes, size_t size) override {
    {
      const std::lock_guard<std::mutex> lock(hub_->mutex);
      hub_->messages[{rank_, to, tag}].emplace_back(static_cast<const char*>(bytes), size);
    }
    hub_->arrived.notify_all();
    return kSent;
  }

  Request Receive(int from, int tag, void* bytes, size_t size) override {
    receipts_[++last_] = {from, tag, bytes, size};
    return last_;
  }

  absl::StatusOr<bool> Test(Request request) override {
    if (request == kSent) return true;
    const auto receipt = receipts_.find(request);
    CHECK(receipt != receipts_.end());
    const auto& [from, tag, bytes, size] = receipt->second;
    const std::lock_guard<std::mutex> lock(hub_->mutex);
    const auto box = hub_->messages.find({from, rank_, tag});
    if (box == hub_->messages.end()) return false;
    CHECK_EQ(box->second.front().size(), size) << "two ranks do different things";
    std::memcpy(bytes, box->second.front().data(), size);
    box->second.pop_front();
    if (box->second.empty()) hub_->messages.erase(box);
    receipts_.erase(receipt);
    return true;
  }

  void CancelReceipts() override { receipts_.clear(); }

  void SendControl(int to, const Control& control) override {
    {
      const std::lock_guard<std::mutex> lock(hub_->mutex);
      hub_->controls[to].emplace_back(rank_, control);
    }
    hub_->arrived.notify_all();
  }

  std::optional<std::pair<int, Control>> TakeControl() override {
    const std::lock_guard<std::mutex> lock(hub_->mutex);
    auto& box = hub_->controls[rank_];
    if (box.empty()) return std::nullopt;
    auto message = box.front();
    box.pop_front();
    return message;
  }

  void Idle(int microseconds) override {
    std::unique_lock<std::mutex> lock(hub_->mutex);
    hub_->arrived.wait_for(lock, std::chrono::microseconds(microseconds));
  }

 private:
  struct Receipt {
    int from, tag;
    void* bytes;
    size_t size;
  };
  static constexpr Request kSent = 0;

  Hub* hub_;
  int rank_, size_;
  Request last_ = kSent;
  std::map<Request, Receipt> receipts_;
};

struct LocalWorld::Rank {
  std::unique_ptr<Engine> engine;
  std::unique_ptr<HostGroup> group;
};

LocalWorld::LocalWorld(int ranks, const std::vector<std::string>& hosts)
    : hub_(std::make_unique<Hub>(ranks)) {
  std::vector<Member> members;
  std::vector<int> world_ranks;
  std::map<std::string, int> on_host;
  for (int rank = 0; rank < ranks; ++rank) {
    const std::string host = hosts.empty() ? "local" : hosts[static_cast<size_t>(rank)];
    members.push_back({rank, host, rank + 1, on_host[host]++});
    world_ranks.push_back(rank);
  }
  for (int rank = 0; rank < ranks; ++rank) {
    auto one = std::make_unique<Rank>();
    one->engine = std::make_unique<Engine>([this, rank, ranks] {
      return absl::StatusOr<std::unique_ptr<Transport>>(
          std::make_unique<HubTransport>(hub_.get(), rank, ranks));
    });
    one->engine->set_is_alive(
        [this](int other) { return !hub_->dead[static_cast<size_t>(other)].load(); });
    CHECK(one->engine->WaitUntilUp(60).ok());
    one->group = std::make_unique<HostGroup>(one->engine.get(), members, world_ranks, rank, 0);
    ranks_.push_back(std::move(one));
  }
}

LocalWorld::~LocalWorld() {
  // An operation that one rank alone has started would keep its engine for ever.
  for (auto& rank : ranks_) rank->engine->Fail(FailureError("the test is over"), "");
}

Group* LocalWorld::group(int rank) { return ranks_[static_cast<size_t>(rank)]->group.get(); }

void LocalWorld::Kill(int rank) { hub_->dead[static_cast<size_t>(rank)] = true; }

}  // namespace mixrec::collective
