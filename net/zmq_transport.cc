#include "net/zmq_transport.h"

#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/log.h"
#include "common/stop_signal.h"
#include "net/endpoint.h"

namespace mixrec::net {
namespace {

constexpr int kMessagesInARow = 64;  // from one socket, before the others get their turn
constexpr Time kHousekeeping = kSecond;
constexpr char kIdentityMark = '@';

// Names one life of one loop; nobody can guess another's.
std::string NewIdentity() {
  std::random_device device;
  const auto word = [&] { return static_cast<uint64_t>(device()) << 32 | device(); };
  return absl::StrFormat("%c%016x%016x", kIdentityMark, word(), word());
}

bool IsIdentity(const Peer& peer) { return !peer.empty() && peer[0] == kIdentityMark; }

}  // namespace

Time SteadyNow() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

absl::StatusOr<std::unique_ptr<ZmqLoop>> ZmqLoop::Create(ZmqOptions options) {
  std::unique_ptr<ZmqLoop> loop(new ZmqLoop(std::move(options)));
  if (loop->event_fd_ < 0) return FailureError("cannot make an eventfd: too many open files");
  MIXREC_ASSIGN_OR_RETURN(loop->keeper_,
                          Doorkeeper::Make(&loop->context_, loop->options_.socket.keys));
  MIXREC_RETURN_IF_ERROR(loop->Listen());
  return loop;
}

ZmqLoop::ZmqLoop(ZmqOptions options)
    : options_(std::move(options)),
      context_(options_.io_threads),
      identity_(NewIdentity()),
      event_fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

ZmqLoop::~ZmqLoop() {
  if (event_fd_ >= 0) ::close(event_fd_);
}

absl::Status ZmqLoop::Listen() {
  if (options_.listen.empty()) return absl::OkStatus();
  MIXREC_ASSIGN_OR_RETURN(const std::string endpoint, EndpointOf(options_.listen));
  MIXREC_ASSIGN_OR_RETURN(router_, net::Listen(&context_, endpoint, options_.socket, &endpoint_));
  keeper_->Watch(&router_, endpoint_);
  return absl::OkStatus();
}

void ZmqLoop::Post(std::function<void(Outbox*)> function) {
  const std::lock_guard<std::mutex> lock(mutex_);
  posts_.push_back(std::move(function));
  if (posted_.exchange(true)) return;  // the loop has been woken
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(event_fd_, &one, sizeof(one));
}

void ZmqLoop::Stop() {
  Post([](Outbox* out) { out->Stop(); });
}

void ZmqLoop::Run(Actor* actor) {
  CHECK(actor_ == nullptr) << "a loop runs once";
  actor_ = actor;
  Invoke(true, [&](Outbox* out) { actor->Start(out); });
  while (!ended_) {
    const bool busy = RunPosts() | ReceiveAll();
    const Time now = SteadyNow();
    if (!ended_ && wake_ <= now) Invoke(true, [&](Outbox* out) { actor->Tick(out); });
    if (now >= next_housekeeping_) Housekeeping(now);
    if (!busy && !ended_) Sleep();
  }
  // Sockets belong to this thread. What they still hold is sent behind their backs.
  keeper_.reset();
  outgoing_.clear();
  router_.close();
}

void ZmqLoop::Housekeeping(Time now) {
  next_housekeeping_ = now + kHousekeeping;
  keeper_->LogFailures(now);
  if (options_.obeys_stop_signal && StopRequested()) ended_ = true;
}

template <typename Call>
void ZmqLoop::Invoke(bool asks_anew, Call call) {
  Outbox out(SteadyNow());
  call(&out);
  for (Packet& packet : out.packets()) Send(std::move(packet));
  wake_ = asks_anew ? out.wake() : std::min(wake_, out.wake());
  ended_ = ended_ || out.stopped();
}

bool ZmqLoop::RunPosts() {
  if (!posted_.load()) return false;
  std::vector<std::function<void(Outbox*)>> posts;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(event_fd_, &count, sizeof(count));
    posts.swap(posts_);
    posted_ = false;
  }
  for (const auto& post : posts) {
    if (!ended_) Invoke(false, post);
  }
  return true;
}

bool ZmqLoop::ReceiveAll() {
  bool busy = false;
  if (keeper_->socket() != nullptr) keeper_->Answer();
  if (router_) busy = ReceiveSome(&router_, nullptr);
  // By index: an actor's answer may add a peer.
  for (size_t i = 0; i < outgoing_.size(); ++i) {
    Outgoing* peer = outgoing_[i].get();
    if (!peer->socket) continue;
    SendWaiting(peer);
    busy |= ReceiveSome(&peer->socket, &peer->endpoint);
  }
  return busy;
}

// What comes from a DEALER's end comes from its endpoint; `endpoint` is null for the ROUTER.
bool ZmqLoop::ReceiveSome(zmq::socket_t* socket, const Peer* endpoint) {
  Peer identity;
  for (int i = 0; i < kMessagesInARow && !ended_; ++i) {
    Message message;
    const Received received =
        ReceiveNow(socket, endpoint == nullptr ? &identity : nullptr, &message);
    if (received == Received::kNothing) return i > 0;
    if (received == Received::kMalformed || (endpoint == nullptr && !IsIdentity(identity))) {
      ++malformed_;
      continue;
    }
    const Peer& from = endpoint == nullptr ? identity : *endpoint;
    Invoke(true, [&](Outbox* out) { actor_->Receive(from, message, out); });
  }
  return true;
}

void ZmqLoop::Send(Packet packet) {
  if (IsEndpoint(packet.to)) {
    Outgoing* to = OutgoingTo(packet.to);
    if (to->socket) SendOrWait(to, std::move(packet.message));
  } else if (!router_ || !SendNow(&router_, packet.to, packet.message)) {
    ++dropped_;
  }
}

ZmqLoop::Outgoing* ZmqLoop::OutgoingTo(const Peer& endpoint) {
  Outgoing*& known = by_endpoint_[endpoint];
  if (known != nullptr) return known;
  outgoing_.push_back(std::make_unique<Outgoing>());
  known = outgoing_.back().get();
  known->endpoint = endpoint;
  // A name of its own for each, since two endpoints may lead to one ROUTER.
  const std::string identity = StrCat(identity_, "-", outgoing_.size());
  auto socket = Connect(&context_, endpoint, identity, options_.socket);
  if (socket.ok()) {
    known->socket = std::move(*socket);
    keeper_->Watch(&known->socket, endpoint);
  } else {
    LOG(WARNING) << socket.status().message();
  }
  return known;
}

void ZmqLoop::SendOrWait(Outgoing* to, Message message) {
  SendWaiting(to);
  if (to->waiting.empty() && SendNow(&to->socket, {}, message)) return;
  to->waiting_bytes += message.bytes();
  to->waiting.push_back(std::move(message));
  while (to->waiting.size() > options_.waiting_messages ||
         to->waiting_bytes > options_.waiting_bytes) {
    to->waiting_bytes -= to->waiting.front().bytes();
    to->waiting.pop_front();
    ++dropped_;
  }
}

void ZmqLoop::SendWaiting(Outgoing* to) {
  while (!to->waiting.empty() && SendNow(&to->socket, {}, to->waiting.front())) {
    to->waiting_bytes -= to->waiting.front().bytes();
    to->waiting.pop_front();
  }
}

// Until a message, a post, the actor's wake time or the next housekeeping.
void ZmqLoop::Sleep() {
  std::vector<zmq_pollitem_t> items;
  items.push_back({nullptr, event_fd_, ZMQ_POLLIN, 0});
  if (router_) items.push_back({router_.handle(), 0, ZMQ_POLLIN, 0});
  if (keeper_->socket() != nullptr) items.push_back({keeper_->socket(), 0, ZMQ_POLLIN, 0});
  for (const auto& peer : outgoing_) {
    if (!peer->socket) continue;
    const int events = ZMQ_POLLIN | (peer->waiting.empty() ? 0 : ZMQ_POLLOUT);
    items.push_back({peer->socket.handle(), 0, static_cast<short>(events), 0});  // NOLINT
  }
  const Time left = std::min(wake_, next_housekeeping_) - SteadyNow();
  const Time milliseconds = (std::max<Time>(left, 0) + kMillisecond - 1) / kMillisecond;
  // EINTR: the loop just looks again.
  zmq_poll(items.data(), static_cast<int>(items.size()),
           static_cast<long>(milliseconds));  // NOLINT
}

}  // namespace mixrec::net
