// Runs an actor on ZeroMQ, in the thread that calls Run.
//
// Who listens has a ROUTER; for every endpoint an actor sends to there is a DEALER, under an
// identity of this loop's own. So a peer's name is an endpoint for who asks, and an identity for
// who answers. Nothing ever waits for a peer: what cannot be queued is dropped, and actors send
// again.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>
#include <zmq.hpp>

#include "common/status.h"
#include "net/actor.h"
#include "net/curve_keys.h"
#include "net/doorkeeper.h"
#include "net/zmq_socket.h"

namespace mixrec::net {

struct ZmqOptions {
  std::string listen;  // "host:port", port 0: any; empty: this loop only connects
  SocketOptions socket;
  int io_threads = 1;
  // Kept for a peer until a connection to it stands; the oldest goes first.
  size_t waiting_bytes = 64 << 20, waiting_messages = 256;
  bool obeys_stop_signal = false;  // Run ends when StopRequested() (common/stop_signal.h)
};

class ZmqLoop {
 public:
  // Listens. UsageError for a bad address, FailureError for a port in use.
  static absl::StatusOr<std::unique_ptr<ZmqLoop>> Create(ZmqOptions options);
  ZmqLoop(const ZmqLoop&) = delete;
  ZmqLoop& operator=(const ZmqLoop&) = delete;
  ~ZmqLoop();

  // Where it listens, with the real port; empty when it does not.
  const std::string& endpoint() const { return endpoint_; }

  // Starts the actor and serves it until it stops itself, or Stop, or a stop signal it obeys. Once.
  void Run(Actor* actor);

  // Any thread: runs `function` in the loop's, soon, between calls to the actor. Functions run in
  // the order of the posts; those that are left when Run ends are destroyed without being run.
  void Post(std::function<void(Outbox*)> function);
  // Any thread: ends Run after what was posted before.
  void Stop();

  // Messages that were no message, and ones dropped because a peer was slow or absent. Any thread.
  int64_t malformed() const { return malformed_; }
  int64_t dropped() const { return dropped_; }

 private:
  // The ROUTER, or the DEALER of one endpoint.
  struct Port {
    Peer endpoint;         // empty: the ROUTER
    zmq::socket_t socket;  // null: the endpoint is no address
    int fd = -1;           // ZeroMQ's: readable when something has happened to the socket
    // To be looked at. Cleared when there is nothing to receive; set again by whatever may hide the
    // next event from `fd`, as sending does.
    bool ready = true;
    std::deque<Message> waiting;
    size_t waiting_bytes = 0;
  };

  explicit ZmqLoop(ZmqOptions options);
  absl::Status Listen();
  Port* AddPort(Peer endpoint, zmq::socket_t socket);
  Port* PortTo(const Peer& endpoint);
  void Send(Packet packet);
  void SendOrWait(Port* port, Message message);
  void SendWaiting(Port* port);
  template <typename Call>
  void Invoke(bool asks_anew, Call call);
  void RunPosts();
  void Serve(Port* port);
  bool SomethingIsReady() const;
  void Sleep();
  void Housekeeping(Time now);

  const ZmqOptions options_;
  zmq::context_t context_;
  std::string identity_, endpoint_;
  std::vector<std::unique_ptr<Port>> ports_;
  Port* router_ = nullptr;
  std::unique_ptr<Doorkeeper> keeper_;           // watches the ports, and goes before them
  std::unordered_map<Peer, Port*> by_endpoint_;  // never iterated
  Actor* actor_ = nullptr;
  Time wake_ = kNever, next_housekeeping_ = 0;
  bool ended_ = false;

  int event_fd_ = -1;  // readable as long as posted_
  std::mutex mutex_;
  std::vector<std::function<void(Outbox*)>> posts_;  // under mutex_
  std::atomic<bool> posted_{false};                  // changed under mutex_
  std::atomic<int64_t> malformed_{0}, dropped_{0};
};

// Of std::chrono::steady_clock.
Time SteadyNow();

}  // namespace mixrec::net
