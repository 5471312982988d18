#include "launch/group_host.h"

#include <utility>

#include "common/log.h"
#include "common/stop_signal.h"

namespace mixrec::launch {
namespace {

constexpr net::Time kPoll = 200 * net::kMillisecond;  // of the stop signal
constexpr net::Time kSilence = 3 * net::kSecond;      // then the scheduler may be elsewhere

// With every word too: each one puts the next tick off, and trials that end at once, as they do
// from the request on, bring words without a pause.
void HeedStop(scheduler::Group* group, net::Outbox* out) {
  if (StopRequested()) group->Leave("asked to stop", out);
}

}  // namespace

GroupHost::GroupHost(scheduler::GroupOptions options, scheduler::GroupWork* work, Way way)
    : way_(std::move(way)), group_(std::move(options), work) {}

void GroupHost::Start(net::Outbox* out) {
  heard_ = out->now();
  Look(out->now());
  With([](scheduler::Group* group, net::Outbox* inner) { group->Start(inner); }, out);
}

void GroupHost::Receive(const net::Peer& from, const net::Message& message, net::Outbox* out) {
  heard_ = out->now();
  With(
      [&](scheduler::Group* group, net::Outbox* inner) {
        HeedStop(group, inner);
        group->Receive(from, message, inner);
      },
      out);
}

void GroupHost::Tick(net::Outbox* out) {
  const net::Time now = out->now();
  if (now - heard_ >= kSilence && now - looked_ >= kSilence) {
    Look(now);
    if (way_.is_over && way_.is_over()) return out->Stop();
  }
  With(
      [](scheduler::Group* group, net::Outbox* inner) {
        HeedStop(group, inner);
        group->Tick(inner);
      },
      out);
}

// The group says everything again until it is answered, so what is lost while nobody knows an
// address is not missed.
void GroupHost::With(const Call& call, net::Outbox* out) {
  net::Outbox inner(out->now());
  call(&group_, &inner);
  for (net::Packet& packet : inner.packets()) {
    if (!scheduler_.empty()) out->Send(scheduler_, std::move(packet.message));
  }
  out->WakeAt(inner.wake());
  out->WakeAt(out->now() + kPoll);
  if (inner.stopped()) out->Stop();
}

void GroupHost::Look(net::Time now) {
  looked_ = now;
  const std::string found = way_.find();
  if (found.empty() || found == scheduler_) return;
  if (!scheduler_.empty()) LOG(INFO) << "the scheduler is at " << found << " now";
  scheduler_ = found;
}

}  // namespace mixrec::launch
