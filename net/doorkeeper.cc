#include "net/doorkeeper.h"

#include <zmq.h>

#include <cstring>
#include <utility>

#include "common/log.h"

namespace mixrec::net {
namespace {

constexpr int kFailures = ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                          ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
constexpr Time kQuiet = 60 * kSecond;

// All parts of a message, or none.
std::vector<std::string> ReceiveParts(zmq::socket_t* socket) {
  std::vector<std::string> parts;
  for (bool more = true; more;) {
    zmq::message_t part;
    if (zmq_msg_recv(part.handle(), socket->handle(), ZMQ_DONTWAIT) < 0) return {};
    parts.push_back(part.to_string());
    more = part.more();
  }
  return parts;
}

void SendParts(zmq::socket_t* socket, const std::vector<std::string>& parts) {
  for (size_t i = 0; i < parts.size(); ++i) {
    const int flags = ZMQ_DONTWAIT | (i + 1 < parts.size() ? ZMQ_SNDMORE : 0);
    if (zmq_send(socket->handle(), parts[i].data(), parts[i].size(), flags) < 0) return;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Doorkeeper>> Doorkeeper::Make(zmq::context_t* context,
                                                             const CurveKeys& keys) {
  std::unique_ptr<Doorkeeper> keeper(new Doorkeeper(context));
  if (keys.empty()) return keeper;
  keeper->public_key_.resize(32);
  auto* bytes = reinterpret_cast<uint8_t*>(keeper->public_key_.data());
  CHECK(zmq_z85_decode(bytes, keys.public_key.c_str()) != nullptr);
  try {
    // ROUTER, not REP: a request that is malformed must not block the next one.
    keeper->zap_ = zmq::socket_t(*context, zmq::socket_type::router);
    keeper->zap_.set(zmq::sockopt::linger, 0);
    keeper->zap_.bind("inproc://zeromq.zap.01");
    keeper->fd_ = keeper->zap_.get(zmq::sockopt::fd);
  } catch (const zmq::error_t& error) {
    return FailureError("cannot check the keys of who connects: ", error.what());
  }
  return keeper;
}

// Before the ends that listen go: ZeroMQ's own thread would wait for another one.
Doorkeeper::~Doorkeeper() {
  for (Watched& it : watched_) zmq_socket_monitor(it.socket->handle(), nullptr, 0);
}

void Doorkeeper::Watch(zmq::socket_t* socket, const std::string& what) {
  const std::string address = StrCat("inproc://events-", watched_.size());
  if (zmq_socket_monitor(socket->handle(), address.c_str(), kFailures) != 0) return;
  try {
    zmq::socket_t events(*context_, zmq::socket_type::pair);
    events.set(zmq::sockopt::linger, 0);
    events.set(zmq::sockopt::rcvhwm, 0);  // ZeroMQ's own thread would wait for room
    events.connect(address);
    watched_.push_back({what, socket, std::move(events), 0, 0});
  } catch (const zmq::error_t& error) {
    LOG(WARNING) << "connections to " << what << " are not watched: " << error.what();
  }
}

// Request: [routing id, "", version, request id, domain, address, identity, mechanism, key].
void Doorkeeper::Answer() {
  while (fd_ >= 0) {
    const std::vector<std::string> request = ReceiveParts(&zap_);
    if (request.empty()) return;
    if (request.size() < 8 || request[2] != "1.0") continue;
    const bool known = request.size() == 9 && request[7] == "CURVE" && request[8] == public_key_;
    if (!known) LOG(WARNING) << "refused a connection from " << request[5] << ": unknown key";
    SendParts(&zap_, {request[0], "", "1.0", request[3], known ? "200" : "400",
                      known ? "OK" : "unknown key", "", ""});
  }
}

void Doorkeeper::LogFailures(Time now) {
  for (Watched& it : watched_) {
    while (!ReceiveParts(&it.events).empty()) ++it.failures;
    if (it.failures == 0 || now < it.quiet_until) continue;
    LOG(WARNING) << it.what << ": " << it.failures << " handshake(s) failed; do both sides use the "
                 << "same key file?";
    it.failures = 0;
    it.quiet_until = now + kQuiet;
  }
}

}  // namespace mixrec::net
