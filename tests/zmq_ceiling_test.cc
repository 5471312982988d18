#include "bench/zmq_ceiling.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

namespace mixrec::bench {
namespace {

TEST(ZmqCeiling, EveryTrafficEndsWithItsFigures) {
  for (const Traffic traffic : {Traffic::kPull, Traffic::kPush, Traffic::kPullPush}) {
    const Ceiling ceiling = traffic == Traffic::kPush ? Ceiling::kUnread : Ceiling::kDelivered;
    TrafficOptions options;
    options.traffic = traffic;
    options.rows = 4096;
    options.width = 768;  // more messages than the window holds
    options.workers = options.servers = 2;
    options.in_flight = 2;
    options.seconds = 0.05;
    const auto result = MeasureZmq(options, ceiling);
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_GT(result->requests, 0);
    EXPECT_GT(result->gb_per_s, 0);
    EXPECT_GE(result->p99_us, result->p50_us);
    EXPECT_GT(result->cpu_us, 0);
  }
}

TEST(TrafficReports, AreSummedOverWorkersAndTheSlowestTells) {
  TrafficOptions options;
  options.rows = 1000;
  options.width = 250;  // a request is 1 MB
  const auto child = [](std::string report) {
    return Child::Start([=](Speaker* parent) { parent->Say(report); }).value();
  };
  std::vector<std::unique_ptr<Child>> workers, servers;
  workers.push_back(child(WorkerReport(options, {4, 1, 3, 2}, 0.004, 0.01, 8)));
  workers.push_back(child(WorkerReport(options, {10, 20}, 0.002, 0.02, 2)));
  servers.push_back(child(ServerReport(0.03)));
  const TrafficResult result = Collect(options, workers, servers).value();
  EXPECT_EQ(result.requests, 6);
  EXPECT_DOUBLE_EQ(result.gb_per_s, 2);
  EXPECT_EQ(result.p50_us, 10);
  EXPECT_EQ(result.p99_us, 20);
  EXPECT_DOUBLE_EQ(result.cpu_us, 6000);
}

TEST(Child, OneThatEndsOrIsSilentIsAFailure) {
  const auto ended = Child::Start([](Speaker*) {}).value();
  EXPECT_NE(ended->Listen(10).status().message().find("has ended"), std::string::npos);
  const auto silent = Child::Start([](Speaker*) { ::pause(); }).value();
  EXPECT_NE(silent->Listen(0.01).status().message().find("is silent"), std::string::npos);
}

}  // namespace
}  // namespace mixrec::bench
