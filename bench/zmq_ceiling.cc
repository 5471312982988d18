#include "bench/zmq_ceiling.h"

#include <zmq.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "bench/processes.h"
#include "common/log.h"

namespace mixrec::bench {
namespace {

// Before the frames of every message, padded to the usual size of an envelope.
struct Head {
  enum Kind : int64_t { kPull, kPush, kQuit };
  int64_t kind = kPull;
  int64_t request = 0;
  int64_t bytes = 0;  // of floats, either way
  char padding[96] = {};
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// `bytes` of `memory`, which lives as long as the process.
void SendShared(zmq::socket_t* socket, const char* memory, int64_t bytes, bool more) {
  zmq_msg_t frame;
  zmq_msg_init_data(
      &frame, const_cast<char*>(memory), static_cast<size_t>(bytes), [](void*, void*) {}, nullptr);
  CHECK(zmq_msg_send(&frame, socket->handle(), more ? ZMQ_SNDMORE : 0) >= 0);
}

void SendHead(zmq::socket_t* socket, const Head& head, bool more) {
  CHECK(zmq_send(socket->handle(), &head, sizeof(head), more ? ZMQ_SNDMORE : 0) >= 0);
}

Head ReceiveHead(zmq::socket_t* socket, bool* more) {
  Head head;
  CHECK(zmq_recv(socket->handle(), &head, sizeof(head), 0) == sizeof(head));
  *more = socket->get(zmq::sockopt::rcvmore);
  return head;
}

// The rest of a message.
void Skip(zmq::socket_t* socket, bool more) {
  while (more) {
    zmq::message_t frame;
    CHECK(zmq_msg_recv(frame.handle(), socket->handle(), 0) >= 0);
    more = frame.more();
  }
}

// Answers pulls with floats and pushes with nothing, until every worker has said that it ends.
void Serve(const TrafficOptions& options, Speaker* parent) {
  zmq::context_t context;
  zmq::socket_t router(context, zmq::socket_type::router);
  router.bind("tcp://127.0.0.1:0");
  parent->Say(router.get(zmq::sockopt::last_endpoint));
  const std::vector<char> floats(static_cast<size_t>(4 * options.rows * options.width), 1);
  double cpu = 0;
  for (int ended = 0; ended < options.workers;) {
    zmq::message_t identity;
    CHECK(zmq_msg_recv(identity.handle(), router.handle(), 0) >= 0);
    bool more = false;
    const Head head = ReceiveHead(&router, &more);
    Skip(&router, more);
    if (cpu == 0) cpu = CpuSeconds();
    if (head.kind == Head::kQuit) {
      ++ended;
      continue;
    }
    CHECK(zmq_msg_send(identity.handle(), router.handle(), ZMQ_SNDMORE) >= 0);
    SendHead(&router, head, head.kind == Head::kPull);
    if (head.kind == Head::kPull) SendShared(&router, floats.data(), head.bytes, false);
  }
  parent->Say(ServerReport(CpuSeconds() - cpu));
}

// One worker's requests.
class Worker {
 public:
  Worker(const TrafficOptions& options, const std::vector<std::string>& endpoints)
      : options_(options), memory_(static_cast<size_t>(4 * options.rows * options.width), 1) {
    for (const std::string& endpoint : endpoints) {
      sockets_.emplace_back(context_, zmq::socket_type::dealer);
      sockets_.back().connect(endpoint);
    }
    waiting_.resize(sockets_.size());
    under_way_.resize(sockets_.size());
  }

  // Requests one after the other for so long; latencies in microseconds.
  std::vector<double> Run(double seconds) {
    latencies_.clear();
    const double end = Now() + seconds;
    while (Now() < end) {
      while (static_cast<int>(open_.size()) < options_.in_flight) Start();
      ReceiveOne();
    }
    while (!open_.empty()) ReceiveOne();
    return latencies_;
  }

  void Quit() {
    Head head;
    head.kind = Head::kQuit;
    for (zmq::socket_t& socket : sockets_) SendHead(&socket, head, false);
  }

 private:
  struct Open {
    int64_t request;
    double start;
    int64_t left;  // messages without an answer
  };

  void Start() {
    Open open{++last_request_, Now(), 0};
    const auto servers = static_cast<int64_t>(sockets_.size());
    const int64_t most = std::max<int64_t>(1, options_.message_bytes / (4 * options_.width));
    for (int64_t server = 0; server < servers; ++server) {
      const int64_t end = options_.rows * (server + 1) / servers;
      for (int64_t row = options_.rows * server / servers; row < end; row += most) {
        const int64_t bytes = std::min(most, end - row) * 4 * options_.width;
        if (options_.traffic != Traffic::kPush) Queue(server, Head::kPull, bytes, &open);
        if (options_.traffic != Traffic::kPull) Queue(server, Head::kPush, bytes, &open);
      }
    }
    open_.push_back(open);
    for (int64_t server = 0; server < servers; ++server) SendSome(server);
  }

  void Queue(int64_t server, Head::Kind kind, int64_t bytes, Open* open) {
    Head head;
    head.kind = kind;
    head.request = open->request;
    head.bytes = bytes;
    waiting_[server].push_back(head);
    ++open->left;
  }

  // Ids, and with a push floats, within the window.
  void SendSome(int64_t server) {
    auto& waiting = waiting_[server];
    while (!waiting.empty() &&
           (under_way_[server] == 0 ||
            under_way_[server] + waiting.front().bytes <= options_.window_bytes)) {
      const Head head = waiting.front();
      waiting.pop_front();
      under_way_[server] += head.bytes;
      zmq::socket_t* socket = &sockets_[server];
      const bool push = head.kind == Head::kPush;
      SendHead(socket, head, true);
      SendShared(socket, memory_.data(), head.bytes / options_.width, push);
      if (push) SendShared(socket, memory_.data(), head.bytes, false);
    }
  }

  void ReceiveOne() {
    const int64_t server = Readable();
    bool more = false;
    const Head head = ReceiveHead(&sockets_[server], &more);
    Skip(&sockets_[server], more);
    under_way_[server] -= head.bytes;
    SendSome(server);
    const auto open = std::find_if(open_.begin(), open_.end(),
                                   [&](const Open& it) { return it.request == head.request; });
    if (--open->left > 0) return;
    latencies_.push_back(1e6 * (Now() - open->start));
    open_.erase(open);
  }

  int64_t Readable() {
    if (sockets_.size() == 1) return 0;
    std::vector<zmq_pollitem_t> items;
    for (zmq::socket_t& socket : sockets_) items.push_back({socket.handle(), 0, ZMQ_POLLIN, 0});
    while (true) {
      zmq_poll(items.data(), static_cast<int>(items.size()), -1);
      for (size_t i = 0; i < items.size(); ++i) {
        const size_t server = (next_ + i) % items.size();
        if ((items[server].revents & ZMQ_POLLIN) == 0) continue;
        next_ = server + 1;  // each gets its turn
        return static_cast<int64_t>(server);
      }
    }
  }

  const TrafficOptions options_;
  const std::vector<char> memory_;
  zmq::context_t context_;
  std::vector<zmq::socket_t> sockets_;
  std::vector<std::deque<Head>> waiting_;
  std::vector<int64_t> under_way_;  // bytes
  std::vector<Open> open_;
  std::vector<double> latencies_;
  int64_t last_request_ = 0;
  size_t next_ = 0;
};

void Work(const TrafficOptions& options, const std::vector<std::string>& endpoints,
          Speaker* parent) {
  Worker worker(options, endpoints);
  const double cpu = CpuSeconds();
  const size_t warming = worker.Run(options.seconds / 4).size();
  const double start = Now();
  const std::vector<double> latencies = worker.Run(options.seconds);
  const double seconds = Now() - start;
  parent->Say(WorkerReport(options, latencies, seconds, CpuSeconds() - cpu,
                           static_cast<int64_t>(warming + latencies.size())));
  worker.Quit();
}

}  // namespace

absl::StatusOr<TrafficResult> MeasureZmq(const TrafficOptions& options) {
  std::vector<std::unique_ptr<Child>> servers, workers;
  std::vector<std::string> endpoints;
  for (int i = 0; i < options.servers; ++i) {
    MIXREC_ASSIGN_OR_RETURN(auto child,
                            Child::Start([&](Speaker* parent) { Serve(options, parent); }));
    MIXREC_ASSIGN_OR_RETURN(std::string endpoint, child->Listen(10));
    endpoints.push_back(std::move(endpoint));
    servers.push_back(std::move(child));
  }
  for (int i = 0; i < options.workers; ++i) {
    MIXREC_ASSIGN_OR_RETURN(
        auto child, Child::Start([&](Speaker* parent) { Work(options, endpoints, parent); }));
    workers.push_back(std::move(child));
  }
  return Collect(options, workers, servers);
}

}  // namespace mixrec::bench
