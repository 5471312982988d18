// Who may come in, and who was sent away: the answers of ZeroMQ's authentication (ZAP, RFC 27) and
// the failed handshakes of a loop's sockets, as lines of the log.
#pragma once

#include <memory>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "common/status.h"
#include "net/actor.h"
#include "net/curve_keys.h"

namespace mixrec::net {

// All calls come from the thread of the loop, but the construction.
class Doorkeeper {
 public:
  Doorkeeper(const Doorkeeper&) = delete;
  Doorkeeper& operator=(const Doorkeeper&) = delete;
  ~Doorkeeper();
  // Lets in whoever has the public key of `keys`. Without keys ZeroMQ does not ask.
  static absl::StatusOr<std::unique_ptr<Doorkeeper>> Make(zmq::context_t* context,
                                                          const CurveKeys& keys);

  // Has the handshakes of `socket` watched, which must outlive this; `what` names it in the log.
  void Watch(zmq::socket_t* socket, const std::string& what);

  // Readable when somebody may be waiting; -1 when there are no keys.
  int fd() const { return fd_; }
  // Answers who is waiting.
  void Answer();
  // Logs failed handshakes, a socket's first and then one a minute.
  void LogFailures(Time now);

 private:
  struct Watched {
    std::string what;
    zmq::socket_t* socket;
    zmq::socket_t events;
    Time quiet_until = 0;
    int64_t failures = 0;
  };

  explicit Doorkeeper(zmq::context_t* context) : context_(context) {}

  zmq::context_t* context_;
  zmq::socket_t zap_;
  int fd_ = -1;
  std::string public_key_;  // 32 bytes
  std::vector<Watched> watched_;
};

}  // namespace mixrec::net
