#include "net/zmq_transport.h"

#include <gtest/gtest.h>
#include <zmq.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/stop_signal.h"
#include "net/curve_keys.h"
#include "probe_actor.h"

namespace mixrec::net {
namespace {

// A loop with its actor in a thread of its own.
class Running {
 public:
  Running(ZmqOptions options, std::unique_ptr<Actor> actor) : actor_(std::move(actor)) {
    auto loop = ZmqLoop::Create(std::move(options));
    EXPECT_TRUE(loop.ok()) << loop.status().message();
    loop_ = std::move(*loop);
    thread_ = std::thread([this] { loop_->Run(actor_.get()); });
  }
  ~Running() { End(); }
  void End() {
    if (!thread_.joinable()) return;
    loop_->Stop();
    thread_.join();
  }
  void Join() { thread_.join(); }  // of one that ends by itself
  ZmqLoop* operator->() { return loop_.get(); }

 private:
  std::unique_ptr<Actor> actor_;
  std::unique_ptr<ZmqLoop> loop_;
  std::thread thread_;
};

ZmqOptions Listening() {
  ZmqOptions options;
  options.listen = "127.0.0.1:0";
  return options;
}

// Sends a message again and again, as actors do, until the first answer, which it hands over; then
// it ends.
struct Asking : Actor {
  Asking(Peer to, Message message) : to_(std::move(to)), message_(std::move(message)) {}
  void Start(Outbox* out) override { Tick(out); }
  void Tick(Outbox* out) override {
    out->Send(to_, message_);
    out->WakeAt(out->now() + 20 * kMillisecond);
  }
  void Receive(const Peer& from, const Message& message, Outbox* out) override {
    answer.set_value({from, message});
    out->Stop();
  }
  std::promise<std::pair<Peer, Message>> answer;

 private:
  Peer to_;
  Message message_;
};

std::pair<Peer, Message> Ask(const Peer& to, Message message, ZmqOptions options = {}) {
  auto asking = std::make_unique<Asking>(to, std::move(message));
  auto answer = asking->answer.get_future();
  Running client(std::move(options), std::move(asking));
  client.Join();
  return answer.get();
}

TEST(ZmqTransport, AnAnswerComesFromTheEndpointThatWasAsked) {
  Running server(Listening(), EchoActor());
  const auto [from, answer] = Ask(server->endpoint(), TextMessage("hello"));
  EXPECT_EQ(from, server->endpoint());
  EXPECT_EQ(TextOf(answer), "echo hello");
}

TEST(ZmqTransport, FramesOfAnySizeComeBackWholeAndAligned) {
  Running server(Listening(), EchoActor());
  Message message = TextMessage("frames");
  for (const size_t size : {size_t{0}, size_t{1}, size_t{511}, size_t{513}, size_t{4099},
                            size_t{9000}, size_t{512 * 1024}, size_t{3 << 20}}) {
    message.frames.push_back(Buffer::Copy(std::string(size, static_cast<char>('a' + size % 23))));
  }
  const Message answer = Ask(server->endpoint(), message).second;
  ASSERT_EQ(answer.frames.size(), message.frames.size());
  for (size_t i = 0; i < answer.frames.size(); ++i) {
    EXPECT_EQ(answer.frames[i].bytes(), message.frames[i].bytes()) << i;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(answer.frames[i].data()) % 8, 0u);
  }
}

TEST(ZmqTransport, WhatWasSentBeforeThePeerListensArrivesOnceItDoes) {
  // A port that was free a moment ago.
  const std::string endpoint = ZmqLoop::Create(Listening()).value()->endpoint();
  auto asking = std::make_unique<Asking>(endpoint, TextMessage("early"));
  auto answer = asking->answer.get_future();
  Running client({}, std::move(asking));
  ZmqOptions options;
  options.listen = endpoint;
  Running second(options, EchoActor());
  ASSERT_EQ(answer.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  EXPECT_EQ(TextOf(answer.get().second), "echo early");
}

TEST(ZmqTransport, MessagesForAnAbsentPeerAreKeptUpToABound) {
  ZmqOptions options;
  options.waiting_messages = 10;
  auto probe = std::make_unique<ProbeActor>();
  probe->on_start = [](Outbox* out) {
    for (int i = 0; i < 25; ++i) out->Send("tcp://127.0.0.1:1", TextMessage("x"));
    out->Stop();
  };
  auto loop = ZmqLoop::Create(options);
  ASSERT_TRUE(loop.ok());
  (*loop)->Run(probe.get());
  EXPECT_EQ((*loop)->dropped(), 15);
}

TEST(ZmqTransport, PostsRunInOrderInTheLoopsThread) {
  Running loop({}, std::make_unique<ProbeActor>());
  std::vector<std::thread::id> threads;
  std::vector<int> order;
  std::promise<void> done;
  for (int i = 0; i < 100; ++i) {
    loop->Post([&, i](Outbox*) {
      threads.push_back(std::this_thread::get_id());
      order.push_back(i);
      if (i == 99) done.set_value();
    });
  }
  done.get_future().wait();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(order[i], i);
    EXPECT_EQ(threads[i], threads[0]);
  }
  EXPECT_NE(threads[0], std::this_thread::get_id());
}

TEST(ZmqTransport, ATickComesWhenAskedForAndAPostDoesNotForgetIt) {
  auto probe = std::make_unique<ProbeActor>();
  auto ticked = std::make_shared<std::promise<Time>>();
  auto start = std::make_shared<Time>();
  probe->on_start = [=](Outbox* out) {
    *start = out->now();
    out->WakeAt(*start + 30 * kMillisecond);
  };
  probe->on_tick = [=](Outbox* out) {
    ticked->set_value(out->now() - *start);
    out->Stop();
  };
  Running loop({}, std::move(probe));
  loop->Post([](Outbox*) {});
  EXPECT_GE(ticked->get_future().get(), 30 * kMillisecond);
  loop.Join();
}

TEST(ZmqTransport, AStopRequestEndsALoopThatObeys) {
  ZmqOptions options = Listening();
  options.obeys_stop_signal = true;
  RequestStop();
  Running loop(options, std::make_unique<ProbeActor>());
  loop.Join();
  ClearStopRequest();
}

// A plain libzmq socket, for what no actor would send.
class RawDealer {
 public:
  RawDealer(const std::string& endpoint, const std::string& identity,
            const std::string& server_key = "", const CurveKeys& keys = {})
      : context_(zmq_ctx_new()), socket_(zmq_socket(context_, ZMQ_DEALER)) {
    const int linger = server_key.empty() ? 1000 : 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof(linger));
    Set(ZMQ_ROUTING_ID, identity);
    Set(ZMQ_CURVE_SERVERKEY, server_key);
    Set(ZMQ_CURVE_PUBLICKEY, keys.public_key);
    Set(ZMQ_CURVE_SECRETKEY, keys.secret_key);
    zmq_connect(socket_, endpoint.c_str());
  }
  ~RawDealer() {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }
  void Send(const std::vector<std::string>& parts) {
    for (size_t i = 0; i < parts.size(); ++i) {
      zmq_send(socket_, parts[i].data(), parts[i].size(), i + 1 < parts.size() ? ZMQ_SNDMORE : 0);
    }
  }

 private:
  void Set(int option, const std::string& value) {
    if (!value.empty()) zmq_setsockopt(socket_, option, value.data(), value.size());
  }

  void* context_;
  void* socket_;
};

TEST(ZmqTransport, JunkIsSurvivedAndCounted) {
  Running server(Listening(), EchoActor());
  {
    RawDealer nameless(server->endpoint(), "");
    nameless.Send({"no identity"});
    nameless.Send({""});
    RawDealer liar(server->endpoint(), "tcp://127.0.0.1:1");  // would have us connect somewhere
    liar.Send({"x"});
    RawDealer flood(server->endpoint(), "@flood");
    flood.Send(std::vector<std::string>(5000, "frame"));
  }
  EXPECT_EQ(TextOf(Ask(server->endpoint(), TextMessage("still there?")).second),
            "echo still there?");
  // The junk came by other connections: ask until it has been seen.
  for (int i = 0; i < 1000 && server->malformed() < 4; ++i) {
    Ask(server->endpoint(), TextMessage("again"));
  }
  EXPECT_EQ(server->malformed(), 4);
}

TEST(ZmqTransport, ABadAddressOrATakenPortIsOneClearLine) {
  ZmqOptions options;
  options.listen = "nonsense";
  EXPECT_EQ(ZmqLoop::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
  options.listen = "203.0.113.7:0";
  EXPECT_EQ(ZmqLoop::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
  Running server(Listening(), EchoActor());
  options.listen = server->endpoint();
  const auto taken = ZmqLoop::Create(options);
  EXPECT_NE(taken.status().message().find("in use"), std::string::npos) << taken.status().message();
  EXPECT_EQ(ExitCodeOf(taken.status()), kExitFailure);
}

ZmqOptions WithKeys(const CurveKeys& keys, ZmqOptions options = {}) {
  options.socket.keys = keys;
  return options;
}

TEST(ZmqTransport, WhoHasTheKeyComesInAndNobodyElse) {
  const CurveKeys keys = NewCurveKeys().value(), others = NewCurveKeys().value();
  auto echo = EchoActor();
  const ProbeActor* served = echo.get();
  Running server(WithKeys(keys, Listening()), std::move(echo));
  Running stranger(WithKeys(others),
                   std::make_unique<Asking>(server->endpoint(), TextMessage("another key")));
  Running plain({}, std::make_unique<Asking>(server->endpoint(), TextMessage("no key")));
  // Knows the public key, but not the secret one.
  RawDealer half(server->endpoint(), "@half", keys.public_key, others);
  half.Send({"half a key"});
  // Later, on connections of their own, those who may.
  for (int i = 0; i < 20; ++i) {
    const Message answer = Ask(server->endpoint(), TextMessage("hello"), WithKeys(keys)).second;
    EXPECT_EQ(TextOf(answer), "echo hello");
  }
  server.End();
  for (const auto& arrival : served->arrivals) EXPECT_EQ(arrival.text, "hello");
}

}  // namespace
}  // namespace mixrec::net
