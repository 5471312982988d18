#include "bench/ps.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <tuple>

#include "bench/ps_session.h"
#include "bench/ps_softmax.h"
#include "bench/zmq_ceiling.h"

namespace mixrec::bench {
namespace {

using Json = nlohmann::ordered_json;

struct Row {
  Traffic traffic;
  std::pair<int64_t, int64_t> shape;
  int processes = 1;  // workers, and as many servers
  ps::Optimizer optimizer = ps::Optimizer::kSgd;
  int replicas = 0;
  bool ceiling = true;
};

const char* NameOf(Traffic traffic) {
  constexpr const char* kNames[] = {"pull", "push", "pull+push"};
  return kNames[static_cast<size_t>(traffic)];
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

template <typename Field>
double MedianOf(const std::vector<TrafficResult>& results, Field field) {
  std::vector<double> values;
  for (const TrafficResult& result : results) values.push_back(result.*field);
  return Median(std::move(values));
}

double Rounded(double value, double digits) { return std::round(value * digits) / digits; }

absl::StatusOr<Json> MeasureRow(const PsBenchOptions& options, const Row& row) {
  SessionTrafficOptions session;
  session.traffic.traffic = row.traffic;
  std::tie(session.traffic.rows, session.traffic.width) = row.shape;
  session.traffic.workers = session.traffic.servers = row.processes;
  session.traffic.in_flight = options.in_flight;
  session.traffic.seconds = options.seconds;
  session.optimizer = row.optimizer;
  session.replicas = row.replicas;
  session.threads = options.threads;
  session.device = options.device;
  std::vector<TrafficResult> ours, zmq, unread;
  for (int round = 0; round < options.rounds; ++round) {
    if (row.ceiling) {
      MIXREC_ASSIGN_OR_RETURN(const TrafficResult plain,
                              MeasureZmq(session.traffic, Ceiling::kDelivered));
      zmq.push_back(plain);
      MIXREC_ASSIGN_OR_RETURN(const TrafficResult least,
                              MeasureZmq(session.traffic, Ceiling::kUnread));
      unread.push_back(least);
    }
    MIXREC_ASSIGN_OR_RETURN(TrafficResult result, MeasureSession(session));
    ours.push_back(result);
  }
  const double rate = MedianOf(ours, &TrafficResult::gb_per_s);
  Json line{{"op", NameOf(row.traffic)},
            {"shape", StrCat(row.shape.first, "x", row.shape.second)},
            {"processes", StrCat(row.processes, "+", row.processes)},
            {"optimizer", row.optimizer == ps::Optimizer::kSgd ? "sgd" : "adamw"},
            {"replicas", row.replicas},
            {"device", options.device.str()},
            {"gb_per_s", Rounded(rate, 1e4)},
            {"ratio_to_zmq", nullptr}};
  if (row.ceiling) {
    const double ceiling = MedianOf(zmq, &TrafficResult::gb_per_s);
    line["ratio_to_zmq"] = Rounded(rate / ceiling, 1e3);
    line["zmq_gb_per_s"] = Rounded(ceiling, 1e4);
    const double most = MedianOf(unread, &TrafficResult::gb_per_s);
    line["ratio_to_zmq_unread"] = Rounded(rate / most, 1e3);
    line["zmq_unread_gb_per_s"] = Rounded(most, 1e4);
  }
  line["p50_us"] = Rounded(MedianOf(ours, &TrafficResult::p50_us), 10);
  line["p99_us"] = Rounded(MedianOf(ours, &TrafficResult::p99_us), 10);
  line["cpu_us_per_request"] = Rounded(MedianOf(ours, &TrafficResult::cpu_us), 10);
  if (row.ceiling) {
    line["zmq_cpu_us_per_request"] = Rounded(MedianOf(zmq, &TrafficResult::cpu_us), 10);
    line["zmq_unread_cpu_us_per_request"] = Rounded(MedianOf(unread, &TrafficResult::cpu_us), 10);
  }
  return line;
}

std::vector<Row> RowsOf(const PsBenchOptions& options) {
  std::vector<Row> rows;
  const auto add = [&](const Row& like) {
    for (const auto& shape : options.shapes) {
      for (const Traffic traffic : {Traffic::kPull, Traffic::kPush, Traffic::kPullPush}) {
        Row row = like;
        row.shape = shape;
        row.traffic = traffic;
        rows.push_back(row);
      }
    }
  };
  const Row first{Traffic::kPull, {}};
  add(first);
  Row pairs = first, adamw = first, replica = first;
  pairs.processes = 2;
  add(pairs);
  adamw.optimizer = ps::Optimizer::kAdamW;
  replica.replicas = 1;
  adamw.ceiling = replica.ceiling = false;
  if (options.all) add(adamw);
  if (options.all) add(replica);
  return rows;
}

absl::StatusOr<Json> MeasureSoftmaxRow(const PsBenchOptions& options) {
  SoftmaxBenchOptions softmax;
  softmax.threads = options.threads;
  softmax.device = options.device;
  softmax.seconds = options.seconds * 2 * options.rounds;
  MIXREC_ASSIGN_OR_RETURN(const SoftmaxResult result, MeasureSoftmax(softmax));
  return Json{{"op", "softmax"},
              {"shape", StrCat(softmax.states, "x", softmax.width, "x", softmax.items)},
              {"processes", "1+1"},
              {"optimizer", "adamw"},
              {"device", options.device.str()},
              {"threads", softmax.threads},
              {"gflop_per_s", Rounded(result.gflops, 10)},
              {"ratio_to_matmul", Rounded(result.gflops / result.local_gflops, 1e3)},
              {"matmul_gflop_per_s", Rounded(result.local_gflops, 10)},
              {"p50_us", Rounded(result.p50_us, 1)},
              {"p99_us", Rounded(result.p99_us, 1)},
              {"cpu_us_per_request", Rounded(result.cpu_us, 1)}};
}

}  // namespace

absl::Status PrintPsBench(const PsBenchOptions& options, std::ostream& out) {
  for (const Row& row : RowsOf(options)) {
    MIXREC_ASSIGN_OR_RETURN(const Json line, MeasureRow(options, row));
    out << line.dump() << std::endl;
  }
  if (!options.all) return absl::OkStatus();
  MIXREC_ASSIGN_OR_RETURN(const Json softmax, MeasureSoftmaxRow(options));
  out << softmax.dump() << std::endl;
  MIXREC_ASSIGN_OR_RETURN(const double idle, MeasureIdle(options.idle_seconds));
  const Json line{{"op", "idle"}, {"processes", "1+1"}, {"cpu_percent", Rounded(100 * idle, 1e4)}};
  out << line.dump() << std::endl;
  return absl::OkStatus();
}

}  // namespace mixrec::bench
