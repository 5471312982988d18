#include "bench/zmq_ceiling.h"

#include <zmq.h>

#include <algorithm>
#include <array>
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
  int64_t first = 0, bytes = 0;  // of floats, either way
  char padding[88] = {};
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The rows of one process: of a server, those that are pulled and pushed to; of a worker, those
// that it pushes, and where pulled ones go.
class Floats {
 public:
  Floats(const TrafficOptions& options, Ceiling ceiling)
      : ceiling_(ceiling), bytes_(static_cast<size_t>(4 * options.rows * options.width), 1) {}

  // Bytes [first, first + bytes).
  void Send(zmq::socket_t* socket, int64_t first, int64_t bytes) {
    const auto size = static_cast<size_t>(bytes);
    if (ceiling_ == Ceiling::kDelivered) {
      CHECK(zmq_send(socket->handle(), bytes_.data() + first, size, 0) >= 0);
      return;
    }
    zmq_msg_t frame;
    zmq_msg_init_data(
        &frame, bytes_.data() + first, size, [](void*, void*) {}, nullptr);
    CHECK(zmq_msg_send(&frame, socket->handle(), 0) >= 0);
  }

  void Receive(zmq::socket_t* socket, int64_t first, int64_t bytes) {
    if (ceiling_ == Ceiling::kDelivered) {
      const auto size = static_cast<size_t>(bytes);
      CHECK(zmq_recv(socket->handle(), bytes_.data() + first, size, 0) == bytes);
      return;
    }
    zmq::message_t frame;
    CHECK(zmq_msg_recv(frame.handle(), socket->handle(), 0) == bytes);
  }

 private:
  const Ceiling ceiling_;
  std::vector<char> bytes_;
};

void SendHead(zmq::socket_t* socket, const Head& head, bool more) {
  CHECK(zmq_send(socket->handle(), &head, sizeof(head), more ? ZMQ_SNDMORE : 0) >= 0);
}

Head ReceiveHead(zmq::socket_t* socket) {
  Head head;
  CHECK(zmq_recv(socket->handle(), &head, sizeof(head), 0) == sizeof(head));
  return head;
}

// Answers pulls with floats and pushes with nothing, until every worker has said that it ends.
void Serve(const TrafficOptions& options, Ceiling ceiling, Speaker* parent) {
  zmq::context_t context;
  zmq::socket_t router(context, zmq::socket_type::router);
  router.bind("tcp://127.0.0.1:0");
  parent->Say(router.get(zmq::sockopt::last_endpoint));
  Floats floats(options, ceiling);
  std::vector<char> ids(static_cast<size_t>(4 * options.rows));
  double cpu = 0;
  for (int ended = 0; ended < options.workers;) {
    zmq::message_t identity;
    CHECK(zmq_msg_recv(identity.handle(), router.handle(), 0) >= 0);
    const Head head = ReceiveHead(&router);
    if (cpu == 0) cpu = CpuSeconds();
    if (head.kind == Head::kQuit) {
      ++ended;
      continue;
    }
    CHECK(zmq_recv(router.handle(), ids.data(), ids.size(), 0) >= 0);
    if (head.kind == Head::kPush) floats.Receive(&router, head.first, head.bytes);
    CHECK(zmq_msg_send(identity.handle(), router.handle(), ZMQ_SNDMORE) >= 0);
    SendHead(&router, head, head.kind == Head::kPull);
    if (head.kind == Head::kPull) floats.Send(&router, head.first, head.bytes);
  }
  parent->Say(ServerReport(CpuSeconds() - cpu));
}

// One worker's requests.
class Worker {
 public:
  Worker(const TrafficOptions& options, Ceiling ceiling, const std::vector<std::string>& endpoints)
      : options_(options), floats_(options, ceiling), ids_(static_cast<size_t>(options.rows), 1) {
    for (const std::string& endpoint : endpoints) {
      sockets_.emplace_back(context_, zmq::socket_type::dealer);
      sockets_.back().connect(endpoint);
    }
    flows_.resize(sockets_.size());
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
        const int64_t last = std::min(row + most, end);
        if (options_.traffic != Traffic::kPush) Queue(server, Head::kPull, row, last, &open);
        if (options_.traffic != Traffic::kPull) Queue(server, Head::kPush, row, last, &open);
      }
    }
    open_.push_back(open);
    for (int64_t server = 0; server < servers; ++server) SendSome(server);
  }

  // Rows [row, last).
  void Queue(int64_t server, Head::Kind kind, int64_t row, int64_t last, Open* open) {
    Head head;
    head.kind = kind;
    head.request = open->request;
    head.first = row * 4 * options_.width;
    head.bytes = (last - row) * 4 * options_.width;
    flows_[server][kind].waiting.push_back(head);
    ++open->left;
  }

  // Of both kinds in turn, as long as their windows have room.
  void SendSome(int64_t server) {
    for (bool some = true; some;) {
      some = false;
      for (Flow& flow : flows_[server]) {
        if (flow.waiting.empty()) continue;
        const Head head = flow.waiting.front();
        if (flow.under_way > 0 && flow.under_way + head.bytes > options_.window_bytes) continue;
        flow.waiting.pop_front();
        flow.under_way += head.bytes;
        SendRequest(head, &sockets_[server]);
        some = true;
      }
    }
  }

  // Ids, and with a push floats.
  void SendRequest(const Head& head, zmq::socket_t* socket) {
    const bool push = head.kind == Head::kPush;
    SendHead(socket, head, true);
    const auto ids = static_cast<size_t>(head.bytes / options_.width);
    CHECK(zmq_send(socket->handle(), ids_.data(), ids, push ? ZMQ_SNDMORE : 0) >= 0);
    if (push) floats_.Send(socket, head.first, head.bytes);
  }

  void ReceiveOne() {
    const int64_t server = Readable();
    const Head head = ReceiveHead(&sockets_[server]);
    if (head.kind == Head::kPull) floats_.Receive(&sockets_[server], head.first, head.bytes);
    flows_[server][head.kind].under_way -= head.bytes;
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

  struct Flow {
    std::deque<Head> waiting;
    int64_t under_way = 0;  // bytes
  };

  const TrafficOptions options_;
  Floats floats_;
  const std::vector<int32_t> ids_;
  zmq::context_t context_;
  std::vector<zmq::socket_t> sockets_;
  std::vector<std::array<Flow, 2>> flows_;  // of pulls and pushes, by server
  std::vector<Open> open_;
  std::vector<double> latencies_;
  int64_t last_request_ = 0;
  size_t next_ = 0;
};

void Work(const TrafficOptions& options, Ceiling ceiling, const std::vector<std::string>& endpoints,
          Speaker* parent) {
  Worker worker(options, ceiling, endpoints);
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

absl::StatusOr<TrafficResult> MeasureZmq(const TrafficOptions& options, Ceiling ceiling) {
  std::vector<std::unique_ptr<Child>> servers, workers;
  std::vector<std::string> endpoints;
  for (int i = 0; i < options.servers; ++i) {
    MIXREC_ASSIGN_OR_RETURN(
        auto child, Child::Start([&](Speaker* parent) { Serve(options, ceiling, parent); }));
    MIXREC_ASSIGN_OR_RETURN(std::string endpoint, child->Listen(10));
    endpoints.push_back(std::move(endpoint));
    servers.push_back(std::move(child));
  }
  for (int i = 0; i < options.workers; ++i) {
    MIXREC_ASSIGN_OR_RETURN(auto child, Child::Start([&](Speaker* parent) {
                              Work(options, ceiling, endpoints, parent);
                            }));
    workers.push_back(std::move(child));
  }
  return Collect(options, workers, servers);
}

}  // namespace mixrec::bench
