#include "net/endpoint.h"

#include <gtest/gtest.h>

namespace mixrec::net {
namespace {

TEST(Endpoint, AddressesOfPeopleBecomeNamesOfPeers) {
  EXPECT_EQ(EndpointOf("localhost:7001").value(), "tcp://127.0.0.1:7001");
  EXPECT_EQ(EndpointOf("tcp://node-3.lan:1").value(), "tcp://node-3.lan:1");
  EXPECT_EQ(EndpointOf("[::1]:70").value(), "tcp://[::1]:70");
  for (const char* bad : {"", "host", "host:", ":1", "host:70000", "host:-1", "a b:1", "host:1x"}) {
    EXPECT_EQ(EndpointOf(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(Endpoint, OnlyThisMachineIsLoopback) {
  for (const char* local : {"tcp://127.0.0.1:1", "tcp://127.3.2.1:1", "tcp://[::1]:1"}) {
    EXPECT_TRUE(IsLoopback(local)) << local;
  }
  for (const char* open : {"tcp://0.0.0.0:1", "tcp://*:1", "tcp://10.0.0.1:1",
                           "tcp://127.example.org:1", "tcp://[::]:1"}) {
    EXPECT_FALSE(IsLoopback(open)) << open;
  }
}

}  // namespace
}  // namespace mixrec::net
