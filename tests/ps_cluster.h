// A parameter server inside a test: authority and shards on ZeroMQ loops of their own threads.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "net/zmq_transport.h"
#include "ps/authority.h"
#include "ps/session.h"
#include "ps/shard.h"

namespace mixrec::ps {

class Cluster {
 public:
  explicit Cluster(int shards, int replicas = 0) {
    AuthorityOptions authority;
    authority.shards = shards;
    authority.replicas = replicas;
    const std::string address =
        Start([authority](const std::string&) { return std::make_unique<Authority>(authority); });
    servers_ = {address.substr(std::string("tcp://").size())};
    for (int k = 0; k < shards * (1 + replicas); ++k) {
      Start([&](const std::string& endpoint) {
        ShardOptions shard;
        shard.endpoint = endpoint;
        shard.incarnation = static_cast<uint64_t>(k + 1);
        shard.authority = address;
        return std::make_unique<Shard>(shard);
      });
    }
  }
  ~Cluster() {
    for (Node& node : nodes_) node.loop->Stop();
    for (Node& node : nodes_) node.thread.join();
  }

  SessionOptions Options(const std::string& space = "test") const {
    SessionOptions options;
    options.servers = servers_;
    options.space = space;
    options.deadline_seconds = 20;
    return options;
  }
  std::unique_ptr<Session> Open(const SessionOptions& options) const {
    auto session = Session::Open(options);
    EXPECT_TRUE(session.ok()) << session.status();
    return session.ok() ? *std::move(session) : nullptr;
  }
  std::unique_ptr<Session> Open() const { return Open(Options()); }

 private:
  struct Node {
    std::unique_ptr<net::ZmqLoop> loop;
    std::unique_ptr<net::Actor> actor;
    std::thread thread;
  };

  template <typename Make>
  std::string Start(Make make) {
    net::ZmqOptions options;
    options.listen = "127.0.0.1:0";
    auto loop = net::ZmqLoop::Create(options);
    EXPECT_TRUE(loop.ok()) << loop.status();
    nodes_.push_back({*std::move(loop), nullptr, {}});
    Node& node = nodes_.back();
    node.actor = make(node.loop->endpoint());
    node.thread =
        std::thread([loop = node.loop.get(), actor = node.actor.get()] { loop->Run(actor); });
    return node.loop->endpoint();
  }

  std::vector<std::string> servers_;
  std::vector<Node> nodes_;
};

}  // namespace mixrec::ps
