#include "net/zmq_transport.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

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
  MIXREC_ASSIGN_OR_RETURN(zmq::socket_t socket,
                          net::Listen(&context_, endpoint, options_.socket, &endpoint_));
  router_ = AddPort({}, std::move(socket));
  keeper_->Watch(&router_->socket, endpoint_);
  return absl::OkStatus();
}

ZmqLoop::Port* ZmqLoop::AddPort(Peer endpoint, zmq::socket_t socket) {
  ports_.push_back(std::make_unique<Port>());
  Port* port = ports_.back().get();
  port->endpoint = std::move(endpoint);
  port->socket = std::move(socket);
  port->fd = port->socket.get(zmq::sockopt::fd);
  return port;
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
    RunPosts();
    keeper_->Answer();
    // By index: what an actor sends may add a port.
    for (size_t i = 0; i < ports_.size() && !ended_; ++i) {
      if (ports_[i]->ready) Serve(ports_[i].get());
    }
    const Time now = SteadyNow();
    if (!ended_ && wake_ <= now) Invoke(true, [&](Outbox* out) { actor->Tick(out); });
    if (now >= next_housekeeping_) Housekeeping(now);
    if (!ended_ && !SomethingIsReady()) Sleep();
  }
  // Sockets belong to this thread. What they still hold is sent behind their backs.
  keeper_.reset();
  router_ = nullptr;
  by_endpoint_.clear();
  ports_.clear();
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

void ZmqLoop::RunPosts() {
  if (!posted_.load()) return;
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
}

// What comes by a DEALER comes from its endpoint; by the ROUTER, from an identity.
void ZmqLoop::Serve(Port* port) {
  const bool named = port == router_;
  Peer identity;
  for (int i = 0; i < kMessagesInARow && !ended_; ++i) {
    Message message;
    const Received received = ReceiveNow(&port->socket, named ? &identity : nullptr, &message);
    if (received == Received::kNothing) {
      port->ready = false;
      return SendWaiting(port);
    }
    if (received == Received::kMalformed || (named && !IsIdentity(identity))) {
      ++malformed_;
      continue;
    }
    const Peer& from = named ? identity : port->endpoint;
    Invoke(true, [&](Outbox* out) { actor_->Receive(from, message, out); });
  }
}

void ZmqLoop::Send(Packet packet) {
  if (IsEndpoint(packet.to)) return SendOrWait(PortTo(packet.to), std::move(packet.message));
  if (router_ == nullptr || !SendNow(&router_->socket, packet.to, packet.message)) ++dropped_;
  if (router_ != nullptr) router_->ready = true;
}

ZmqLoop::Port* ZmqLoop::PortTo(const Peer& endpoint) {
  Port*& known = by_endpoint_[endpoint];
  if (known != nullptr) return known;
  // A name of its own for each, since two endpoints may lead to one ROUTER.
  const std::string identity = StrCat(identity_, "-", ports_.size());
  auto socket = Connect(&context_, endpoint, identity, options_.socket);
  if (socket.ok()) {
    known = AddPort(endpoint, std::move(*socket));
    keeper_->Watch(&known->socket, endpoint);
  } else {
    LOG(WARNING) << socket.status().message();
  }
  return known;
}

void ZmqLoop::SendOrWait(Port* port, Message message) {
  if (port == nullptr) {
    ++dropped_;
    return;
  }
  port->ready = true;
  if (port->waiting.empty() && SendNow(&port->socket, {}, message)) return;
  port->waiting_bytes += message.bytes();
  port->waiting.push_back(std::move(message));
  while (port->waiting.size() > options_.waiting_messages ||
         port->waiting_bytes > options_.waiting_bytes) {
    port->waiting_bytes -= port->waiting.front().bytes();
    port->waiting.pop_front();
    ++dropped_;
  }
}

void ZmqLoop::SendWaiting(Port* port) {
  while (!port->waiting.empty()) {
    // Asking for the events takes in all that has happened, so that `fd` tells of the next.
    const int events = port->socket.get(zmq::sockopt::events);
    port->ready = (events & ZMQ_POLLIN) != 0;
    if ((events & ZMQ_POLLOUT) == 0) return;
    port->ready = true;
    if (!SendNow(&port->socket, {}, port->waiting.front())) return;
    port->waiting_bytes -= port->waiting.front().bytes();
    port->waiting.pop_front();
  }
}

bool ZmqLoop::SomethingIsReady() const {
  return std::any_of(ports_.begin(), ports_.end(), [](const auto& port) { return port->ready; });
}

// Until an event of a socket, a post, the actor's wake time or the next housekeeping. Not zmq_poll:
// it makes several system calls a socket.
void ZmqLoop::Sleep() {
  std::vector<pollfd> items = {{event_fd_, POLLIN, 0}, {keeper_->fd(), POLLIN, 0}};
  for (const auto& port : ports_) items.push_back({port->fd, POLLIN, 0});
  const Time left = std::max<Time>(std::min(wake_, next_housekeeping_) - SteadyNow(), 0);
  timespec timeout{};
  timeout.tv_sec = left / kSecond;
  timeout.tv_nsec = left % kSecond * 1000;
  if (::ppoll(items.data(), items.size(), &timeout, nullptr) <= 0) return;
  for (size_t i = 0; i < ports_.size(); ++i) ports_[i]->ready = items[i + 2].revents != 0;
}

}  // namespace mixrec::net
