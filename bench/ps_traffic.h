// What `mixrec bench ps` measures, of the parameter server and of plain libzmq alike.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/processes.h"
#include "common/status.h"

namespace mixrec::bench {

enum class Traffic { kPull, kPush, kPullPush };

// One request moves `rows` x `width` floats, and back as many with kPullPush, spread evenly over
// the servers, in messages of at most `message_bytes` of floats (one row at least), of which
// `window_bytes` of pulls and as many of pushes may be under way with each server.
struct TrafficOptions {
  Traffic traffic = Traffic::kPull;
  int64_t rows = 2048, width = 64;
  int workers = 1, servers = 1;  // processes
  int in_flight = 1;             // requests that a worker has under way at once
  double seconds = 1;            // of measurement, after a quarter of it to warm up
  int64_t message_bytes = 512 * 1024;
  int64_t window_bytes = 4 * 1024 * 1024;
};

struct TrafficResult {
  double gb_per_s = 0;            // of floats, both directions, all workers; GB = 1e9 bytes
  double p50_us = 0, p99_us = 0;  // of a request, at the slowest worker
  double cpu_us = 0;              // of all processes, for each request
  int64_t requests = 0;           // measured
  int64_t all_requests = 0;       // with those that warmed up
};

// What a worker tells its parent: latencies (microseconds) of the measured requests, which took
// `seconds`; and processor time of `all` requests, the first ones too.
std::string WorkerReport(const TrafficOptions& options, std::vector<double> latencies,
                         double seconds, double cpu_seconds, int64_t all);
// What a server tells at its end.
std::string ServerReport(double cpu_seconds);

// Waits for the reports of all.
absl::StatusOr<TrafficResult> Collect(const TrafficOptions& options,
                                      const std::vector<std::unique_ptr<Child>>& workers,
                                      const std::vector<std::unique_ptr<Child>>& servers);

}  // namespace mixrec::bench
