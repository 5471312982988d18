#include "net/zmq_socket.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "common/log.h"

namespace mixrec::net {
namespace {

constexpr size_t kCopiedBytes = 512;  // below, a copy is cheaper than an owner
constexpr size_t kMostFrames = 4096;
constexpr size_t kAlignment = 8;
constexpr int kLingerMs = 500;  // for what the last call of an actor sent

int Milliseconds(Time time) { return static_cast<int>(time / kMillisecond); }

void SetCommon(const SocketOptions& options, const std::string& endpoint, zmq::socket_t* socket) {
  using namespace zmq::sockopt;  // NOLINT: only names of options
  socket->set(linger, kLingerMs);
  socket->set(sndhwm, options.queue);
  socket->set(rcvhwm, options.queue);
  socket->set(maxmsgsize, options.most_frame_bytes);
  socket->set(heartbeat_ivl, Milliseconds(options.heartbeat));
  socket->set(heartbeat_timeout, Milliseconds(options.heartbeat_timeout));
  socket->set(heartbeat_ttl, Milliseconds(options.heartbeat_timeout));
  socket->set(tcp_keepalive, 1);
  // Only where it is meant: IPv4 addresses would get unfamiliar names.
  socket->set(ipv6, endpoint.find('[') != std::string::npos);
}

void SetKeys(const CurveKeys& keys, bool server, zmq::socket_t* socket) {
  if (keys.empty()) return;
  using namespace zmq::sockopt;  // NOLINT: only names of options
  socket->set(curve_publickey, keys.public_key);
  socket->set(curve_secretkey, keys.secret_key);
  if (server) {
    socket->set(curve_server, true);
    socket->set(zap_domain, "mixrec");
  } else {
    socket->set(curve_serverkey, keys.public_key);
  }
}

// Bytes that ZeroMQ's thread lets go of. It was handed them over in ways that a thread sanitizer
// does not see; the flag is one that it does.
struct Kept {
  explicit Kept(const Buffer& bytes) : buffer(bytes) { handed_over.store(true); }

  Buffer buffer;
  std::atomic<bool> handed_over{false};
};

void LetGo(void* /*data*/, void* hint) {
  const std::unique_ptr<Kept> kept(static_cast<Kept*>(hint));
  CHECK(kept->handed_over.load());
}

// The bytes of `buffer` live until ZeroMQ has sent them, wherever that is.
void MakeFrame(const Buffer& buffer, zmq_msg_t* frame) {
  if (buffer.size() <= kCopiedBytes) {
    zmq_msg_init_size(frame, buffer.size());
    if (!buffer.empty()) std::memcpy(zmq_msg_data(frame), buffer.data(), buffer.size());
    return;
  }
  auto kept = std::make_unique<Kept>(buffer);
  zmq_msg_init_data(frame, const_cast<char*>(buffer.data()), buffer.size(), LetGo, kept.get());
  kept.release();
}

bool SendFrame(zmq::socket_t* socket, const Buffer& buffer, bool more) {
  zmq_msg_t frame;
  MakeFrame(buffer, &frame);
  if (zmq_msg_send(&frame, socket->handle(), ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) >= 0) {
    return true;
  }
  zmq_msg_close(&frame);
  return false;
}

Buffer BufferOf(zmq::message_t frame) {
  const bool aligned = reinterpret_cast<uintptr_t>(frame.data()) % kAlignment == 0;
  if (frame.size() <= kCopiedBytes || !aligned) return Buffer::Copy(frame.data(), frame.size());
  auto owner = std::make_shared<zmq::message_t>(std::move(frame));
  return {owner->data(), owner->size(), owner};
}

bool ReceiveFrame(zmq::socket_t* socket, zmq::message_t* frame) {
  return zmq_msg_recv(frame->handle(), socket->handle(), ZMQ_DONTWAIT) >= 0;
}

absl::Status ListenFailed(const std::string& endpoint, const zmq::error_t& error) {
  switch (error.num()) {
    case EADDRINUSE:
      return FailureError("cannot listen on ", endpoint,
                          ": the port is in use; stop the other program or choose another port");
    case EADDRNOTAVAIL:
    case ENODEV:
      return UsageError("cannot listen on ", endpoint, ": this machine has no such address");
    case EINVAL:
      return UsageError("cannot listen on ", endpoint, ": not an address; expected host:port");
    default:
      return FailureError("cannot listen on ", endpoint, ": ", error.what());
  }
}

}  // namespace

absl::StatusOr<zmq::socket_t> Listen(zmq::context_t* context, const std::string& endpoint,
                                     const SocketOptions& options, std::string* resolved) {
  try {
    zmq::socket_t socket(*context, zmq::socket_type::router);
    SetCommon(options, endpoint, &socket);
    SetKeys(options.keys, /*server=*/true, &socket);
    // A worker that connects again, after a break that this end has not noticed, is let in.
    socket.set(zmq::sockopt::router_handover, true);
    socket.bind(endpoint);
    *resolved = socket.get(zmq::sockopt::last_endpoint);
    return socket;
  } catch (const zmq::error_t& error) {
    return ListenFailed(endpoint, error);
  }
}

absl::StatusOr<zmq::socket_t> Connect(zmq::context_t* context, const std::string& endpoint,
                                      const std::string& identity, const SocketOptions& options) {
  try {
    zmq::socket_t socket(*context, zmq::socket_type::dealer);
    SetCommon(options, endpoint, &socket);
    SetKeys(options.keys, /*server=*/false, &socket);
    socket.set(zmq::sockopt::routing_id, identity);
    // Nothing is queued for who is not there: it would be stale when it comes back.
    socket.set(zmq::sockopt::immediate, true);
    socket.set(zmq::sockopt::reconnect_ivl, 50);
    socket.set(zmq::sockopt::reconnect_ivl_max, 1000);
    socket.set(zmq::sockopt::connect_timeout, 2000);
    socket.connect(endpoint);
    return socket;
  } catch (const zmq::error_t& error) {
    return UsageError("cannot connect to ", endpoint, ": ", error.what());
  }
}

bool SendNow(zmq::socket_t* socket, const std::string& identity, const Message& message) {
  if (!identity.empty()) {
    if (zmq_send(socket->handle(), identity.data(), identity.size(), ZMQ_DONTWAIT | ZMQ_SNDMORE) <
        0) {
      return false;
    }
  }
  const size_t frames = message.frames.size();
  if (!SendFrame(socket, message.head, frames > 0)) return false;
  for (size_t i = 0; i < frames; ++i) {
    if (!SendFrame(socket, message.frames[i], i + 1 < frames)) return false;
  }
  return true;
}

Received ReceiveNow(zmq::socket_t* socket, std::string* identity, Message* message) {
  zmq::message_t frame;
  if (!ReceiveFrame(socket, &frame)) return Received::kNothing;
  if (identity != nullptr) {
    identity->assign(static_cast<const char*>(frame.data()), frame.size());
    if (!frame.more() || !ReceiveFrame(socket, &frame)) return Received::kMalformed;
  }
  bool more = frame.more();
  message->head = BufferOf(std::move(frame));
  message->frames.clear();
  // Read to the end whatever it is, so that the next message starts where it should.
  bool fine = true;
  while (more) {
    zmq::message_t next;
    if (!ReceiveFrame(socket, &next)) return Received::kMalformed;
    more = next.more();
    fine = fine && message->frames.size() < kMostFrames;
    if (fine) message->frames.push_back(BufferOf(std::move(next)));
  }
  return fine ? Received::kMessage : Received::kMalformed;
}

}  // namespace mixrec::net
