// A ZeroMQ socket that carries Messages, without copies where they would cost.
#pragma once

#include <string>
#include <zmq.hpp>

#include "common/status.h"
#include "net/actor.h"
#include "net/curve_keys.h"

namespace mixrec::net {

struct SocketOptions {
  CurveKeys keys;  // empty: in the clear
  // Messages waiting at either end, for each peer; what comes beyond is dropped (actors resend).
  int queue = 1024;
  // A peer that does not answer ZeroMQ's own heartbeats is disconnected.
  Time heartbeat = 2 * kSecond, heartbeat_timeout = 10 * kSecond;
  int64_t most_frame_bytes = 64 << 20;  // a peer that announces more is disconnected
};

// What listens: a ROUTER, bound. `endpoint` gets the address with its real port.
absl::StatusOr<zmq::socket_t> Listen(zmq::context_t* context, const std::string& endpoint,
                                     const SocketOptions& options, std::string* resolved);
// What connects: a DEALER whose peer knows it as `identity`. It need not be there yet.
absl::StatusOr<zmq::socket_t> Connect(zmq::context_t* context, const std::string& endpoint,
                                      const std::string& identity, const SocketOptions& options);

// Never waits: false when the queue is full or nobody is connected, and nothing was sent.
// `identity` is the receiver behind a ROUTER; of a DEALER: empty.
bool SendNow(zmq::socket_t* socket, const std::string& identity, const Message& message);

enum class Received { kNothing, kMessage, kMalformed };
// Never waits. `identity` gets the sender at a ROUTER; null at a DEALER. Head and frames are 8-byte
// aligned.
Received ReceiveNow(zmq::socket_t* socket, std::string* identity, Message* message);

}  // namespace mixrec::net
