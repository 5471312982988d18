#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>

#include "bench/ps.h"
#include "bench/ps_session.h"
#include "bench/ps_softmax.h"

namespace mixrec::bench {
namespace {

TEST(PsBench, EveryTrafficOfSessionsEndsWithItsFigures) {
  for (const Traffic traffic : {Traffic::kPull, Traffic::kPush, Traffic::kPullPush}) {
    SessionTrafficOptions options;
    options.traffic.traffic = traffic;
    options.traffic.workers = options.traffic.servers = 2;
    options.traffic.seconds = 0.05;
    options.optimizer = ps::Optimizer::kAdamW;
    options.replicas = traffic == Traffic::kPush ? 1 : 0;
    const auto result = MeasureSession(options);
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_GT(result->requests, 0);
    EXPECT_GT(result->gb_per_s, 0);
    EXPECT_GE(result->p99_us, result->p50_us);
    EXPECT_GT(result->cpu_us, 0);
  }
}

TEST(PsBench, PrintsALineForEveryTrafficAndNumberOfProcesses) {
  PsBenchOptions options;
  options.seconds = 0.02;
  options.rounds = 1;
  options.shapes = {{16, 64}};
  options.all = false;
  std::stringstream out;
  const absl::Status status = PrintPsBench(options, out);
  ASSERT_TRUE(status.ok()) << status.message();
  std::set<std::string> seen;
  for (std::string line; std::getline(out, line);) {
    const auto row = nlohmann::json::parse(line);
    seen.insert(row["op"].get<std::string>() + " " + row["processes"].get<std::string>());
    EXPECT_EQ(row["shape"], "16x64");
    EXPECT_GT(row["gb_per_s"].get<double>(), 0);
    EXPECT_GT(row["ratio_to_zmq"].get<double>(), 0);
    EXPECT_GT(row["ratio_to_zmq_unread"].get<double>(), 0);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"pull 1+1", "push 1+1", "pull+push 1+1", "pull 2+2",
                                         "push 2+2", "pull+push 2+2"}));
}

TEST(PsBench, SoftmaxAndLocalProductsHaveRates) {
  SoftmaxBenchOptions options;
  options.states = 64;
  options.width = 32;
  options.items = 500;
  options.seconds = 0.05;
  const auto result = MeasureSoftmax(options);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_GT(result->gflops, 0);
  EXPECT_GT(result->local_gflops, 0);
  EXPECT_GT(result->cpu_us, 0);
}

TEST(PsBench, AnIdleShardHasAShareOfACore) {
  const auto share = MeasureIdle(0.1);
  ASSERT_TRUE(share.ok()) << share.status().message();
  EXPECT_GE(*share, 0);
  EXPECT_LT(*share, 1);
}

}  // namespace
}  // namespace mixrec::bench
