#include "ps/session.h"

#include <chrono>
#include <future>
#include <map>
#include <thread>
#include <utility>

#include "common/log.h"
#include "net/curve_keys.h"
#include "net/zmq_transport.h"
#include "ps/client.h"
#include "ps/snapshot.h"

namespace mixrec::ps {
namespace {

net::Time Micros(double seconds) { return static_cast<net::Time>(seconds * net::kSecond); }

uint64_t NewIncarnation(int rank) {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return IncarnationAt(std::chrono::duration_cast<std::chrono::microseconds>(since).count(), rank);
}

ClientOptions MakeClientOptions(const SessionOptions& options) {
  ClientOptions client;
  for (const std::string& server : options.servers) {
    client.caller.servers.push_back(StrCat("tcp://", server));
  }
  client.caller.incarnation = NewIncarnation(options.rank);
  client.caller.deadline = Micros(options.deadline_seconds);
  client.caller.retry = std::min(2 * net::kSecond, client.caller.deadline / 4);
  client.caller.peer_deadline = Micros(options.peer_seconds);
  client.caller.window_bytes = static_cast<size_t>(options.window_bytes);
  client.session = {options.space,       options.rank,      options.world,
                    options.consistency, options.staleness, options.lease_seconds};
  client.message_bytes = options.message_bytes;
  return client;
}

// A value that the transport's thread gives and the caller's waits for.
template <typename T>
struct Promise {
  std::shared_ptr<std::promise<T>> promise = std::make_shared<std::promise<T>>();
  std::function<void(T)> Setter() const {
    return [promise = promise](T value) { promise->set_value(std::move(value)); };
  }
  std::future<T> future() const { return promise->get_future(); }
};

class ZmqSession : public Session {
 public:
  ZmqSession(const SessionOptions& options, std::unique_ptr<net::ZmqLoop> loop)
      : options_(options), loop_(std::move(loop)), client_(MakeClientOptions(options)) {
    thread_ = std::thread([this] { loop_->Run(&client_); });
  }
  ~ZmqSession() override {
    loop_->Stop();
    thread_.join();
  }

  absl::Status Connect() {
    Promise<absl::Status> connected;
    Post([this, set = connected.Setter()] {
      client_.WhenConnected([set] { set(absl::OkStatus()); });
    });
    std::future<absl::Status> future = connected.future();
    const auto deadline = std::chrono::duration<double>(options_.deadline_seconds);
    if (future.wait_for(deadline) != std::future_status::ready) {
      std::string servers;
      for (const std::string& server : options_.servers) {
        servers += StrCat(servers.empty() ? "" : ", ", server);
      }
      return FailureError("no parameter server answers at ", servers, " after ",
                          options_.deadline_seconds, " s: is `mixrec ps` up, is the address right",
                          options_.key_file.empty() ? ", does it want --ps_key_file?"
                                                    : ", and is the key its own?");
    }
    return Call<absl::Status>([this](auto done) { client_.Open(std::move(done)); });
  }

  absl::Status CreateTable(const TableSpec& spec) override {
    return Call<absl::Status>([&](auto done) { client_.CreateTable(spec, std::move(done)); });
  }

  Ticket StartPull(const std::string& table, int64_t step, std::vector<int32_t> ids) override {
    Promise<absl::StatusOr<at::Tensor>> rows;
    pulls_[++last_ticket_] = rows.future();
    Post([this, table, step, ids = std::move(ids), set = rows.Setter()] {
      client_.Pull(table, step, ids, set);
    });
    return last_ticket_;
  }

  absl::StatusOr<at::Tensor> FinishPull(Ticket ticket) override {
    return Take(&pulls_, ticket).get();
  }

  Ticket StartPush(const std::string& table, int64_t step, double learning_rate,
                   std::vector<int32_t> ids, at::Tensor gradients) override {
    Promise<absl::Status> pushed;
    effects_[++last_ticket_] = pushed.future();
    Post(
        [this, table, step, learning_rate, ids = std::move(ids), gradients = std::move(gradients),
         set = pushed.Setter()] { client_.Push(table, step, learning_rate, ids, gradients, set); });
    return last_ticket_;
  }

  Ticket StartSoftmax(const std::string& table, int64_t step, at::Tensor states,
                      std::vector<int32_t> labels, const Sampling& sampling) override {
    Promise<absl::StatusOr<SoftmaxResult>> result;
    const Ticket ticket = ++last_ticket_;
    softmaxes_[ticket] = result.future();
    forwards_[ticket] = {table, step, states, labels, sampling};
    Post([this, table, step, states = std::move(states), labels = std::move(labels), sampling,
          set = result.Setter()] { client_.Softmax(table, step, states, labels, sampling, set); });
    return ticket;
  }

  absl::StatusOr<SoftmaxResult> FinishSoftmax(Ticket ticket) override {
    return Take(&softmaxes_, ticket).get();
  }

  Ticket StartSoftmaxBackward(Ticket forward, double learning_rate, at::Tensor log_sum_exp,
                              at::Tensor weights) override {
    const auto found = forwards_.find(forward);
    CHECK(found != forwards_.end()) << "no softmax " << forward;
    Promise<absl::Status> done;
    effects_[++last_ticket_] = done.future();
    Post([this, first = std::move(found->second), learning_rate,
          log_sum_exp = std::move(log_sum_exp), weights = std::move(weights), set = done.Setter()] {
      client_.SoftmaxBackward(first.table, first.step, learning_rate, first.states, first.labels,
                              first.sampling, log_sum_exp, weights, set);
    });
    // A first half without a second, as in an evaluation, is forgotten with the next that has one.
    forwards_.erase(forwards_.begin(), std::next(found));
    return last_ticket_;
  }

  absl::Status Finish(Ticket ticket) override { return Take(&effects_, ticket).get(); }

  absl::Status Flush() override {
    absl::Status first;
    for (auto& [ticket, future] : effects_) first.Update(future.get());
    effects_.clear();
    return first;
  }

  absl::StatusOr<std::vector<int64_t>> Rank(const std::string& table, int64_t step,
                                            const RankRequest& request) override {
    return Call<absl::StatusOr<std::vector<int64_t>>>(
        [&](auto done) { client_.Rank(table, step, request, std::move(done)); });
  }

  absl::StatusOr<TopKResult> TopK(const std::string& table, int64_t step,
                                  const TopKRequest& request) override {
    return Call<absl::StatusOr<TopKResult>>(
        [&](auto done) { client_.TopK(table, step, request, std::move(done)); });
  }

  absl::Status Save(const std::string& folder, int64_t step) override {
    const auto files = Call<absl::StatusOr<std::vector<Saved>>>(
        [&](auto done) { client_.Save(folder, step, std::move(done)); });
    if (!files.ok()) return files.status();
    return WriteSnapshotManifest(folder, step, *files);
  }

  absl::Status Restore(const std::string& folder, int64_t step) override {
    return Call<absl::Status>([&](auto done) { client_.Restore(folder, step, std::move(done)); });
  }

  absl::Status Drop() override {
    return Call<absl::Status>([&](auto done) { client_.Drop(options_.space, std::move(done)); });
  }

  absl::StatusOr<std::string> Stats() override {
    return Call<absl::StatusOr<std::string>>([&](auto done) { client_.Stats(std::move(done)); });
  }

 private:
  struct Forward {
    std::string table;
    int64_t step = 0;
    at::Tensor states;
    std::vector<int32_t> labels;
    Sampling sampling;
  };

  // Runs a function with the client, in its thread.
  void Post(std::function<void()> function) {
    loop_->Post([this, function = std::move(function)](net::Outbox* out) {
      function();
      client_.Tick(out);
    });
  }

  // Starts something and waits for its end.
  template <typename Result, typename Start>
  Result Call(Start start) {
    Promise<Result> result;
    std::future<Result> future = result.future();
    Post([&start, set = result.Setter()] { start(set); });
    return future.get();
  }

  template <typename T>
  static std::future<T> Take(std::map<Ticket, std::future<T>>* futures, Ticket ticket) {
    const auto found = futures->find(ticket);
    CHECK(found != futures->end()) << "no ticket " << ticket;
    std::future<T> future = std::move(found->second);
    futures->erase(found);
    return future;
  }

  const SessionOptions options_;
  std::unique_ptr<net::ZmqLoop> loop_;
  Client client_;  // in the loop's thread
  std::thread thread_;
  Ticket last_ticket_ = 0;
  std::map<Ticket, std::future<absl::StatusOr<at::Tensor>>> pulls_;
  std::map<Ticket, std::future<absl::Status>> effects_;
  std::map<Ticket, std::future<absl::StatusOr<SoftmaxResult>>> softmaxes_;
  std::map<Ticket, Forward> forwards_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Session>> Session::Open(const SessionOptions& options) {
  if (options.servers.empty()) return UsageError("no parameter server is named");
  net::ZmqOptions transport;
  if (!options.key_file.empty()) {
    MIXREC_ASSIGN_OR_RETURN(transport.socket.keys, net::ReadCurveKeys(options.key_file));
  }
  MIXREC_ASSIGN_OR_RETURN(std::unique_ptr<net::ZmqLoop> loop, net::ZmqLoop::Create(transport));
  auto session = std::make_unique<ZmqSession>(options, std::move(loop));
  MIXREC_RETURN_IF_ERROR(session->Connect());
  return std::unique_ptr<Session>(std::move(session));
}

}  // namespace mixrec::ps
