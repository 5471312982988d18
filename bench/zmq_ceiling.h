// What the parameter server's traffic is measured against: plain libzmq that carries the same bytes
// in the same directions, cut into the same messages, between as many processes.
#pragma once

#include "bench/ps_traffic.h"
#include "common/status.h"

namespace mixrec::bench {

enum class Ceiling {
  // From the sender's memory into the receiver's: zmq_send and zmq_recv, which copy each message
  // once at either end. What a program that carries rows has to do.
  kDelivered,
  // Nothing is copied that libzmq does not copy: messages are sent from where their bytes lie, and
  // dropped unread.
  kUnread,
};

// Takes options.seconds * 1.25 and the start of the processes, which are forked.
absl::StatusOr<TrafficResult> MeasureZmq(const TrafficOptions& options, Ceiling ceiling);

}  // namespace mixrec::bench
