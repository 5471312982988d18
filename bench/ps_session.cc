#include "bench/ps_session.h"

#include <ATen/Parallel.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <numeric>
#include <random>
#include <thread>
#include <utility>

#include "bench/ps_servers.h"
#include "common/log.h"
#include "ps/session.h"

namespace mixrec::bench {
namespace {

constexpr double kPatience = 60;        // seconds
constexpr double kLearningRate = 1e-4;  // the rows stay finite
constexpr char kTable[] = "rows";

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Distinct, ascending.
std::vector<int32_t> DrawIds(int64_t count, int64_t rows, int rank) {
  std::vector<int32_t> all(static_cast<size_t>(rows));
  std::iota(all.begin(), all.end(), 0);
  std::vector<int32_t> some;
  std::mt19937 generator(static_cast<uint32_t>(rank + 1));
  std::sample(all.begin(), all.end(), std::back_inserter(some), count, generator);
  return some;
}

// One worker's requests.
class Worker {
 public:
  Worker(const SessionTrafficOptions& options, int rank, ps::Session* session)
      : options_(options.traffic),
        session_(session),
        ids_(DrawIds(options_.rows, options_.rows * options.table_factor, rank)),
        gradients_(at::full({options_.rows, options_.width}, 1e-3)) {}

  // Requests one after the other for so long; latencies in microseconds.
  absl::StatusOr<std::vector<double>> Run(double seconds) {
    latencies_.clear();
    const double end = Now() + seconds;
    while (Now() < end) {
      while (static_cast<int>(open_.size()) < options_.in_flight) Start();
      MIXREC_RETURN_IF_ERROR(FinishOldest());
    }
    while (!open_.empty()) MIXREC_RETURN_IF_ERROR(FinishOldest());
    return latencies_;
  }

 private:
  struct Open {
    double start;
    ps::Session::Ticket pull, push;
  };

  void Start() {
    Open open{Now(), 0, 0};
    if (options_.traffic != Traffic::kPush) open.pull = session_->StartPull(kTable, 0, ids_);
    if (options_.traffic != Traffic::kPull) {
      open.push = session_->StartPush(kTable, step_++, kLearningRate, ids_, gradients_);
    }
    open_.push_back(open);
  }

  absl::Status FinishOldest() {
    const Open open = open_.front();
    open_.pop_front();
    if (open.pull != 0) MIXREC_RETURN_IF_ERROR(session_->FinishPull(open.pull).status());
    if (open.push != 0) MIXREC_RETURN_IF_ERROR(session_->Finish(open.push));
    latencies_.push_back(1e6 * (Now() - open.start));
    return absl::OkStatus();
  }

  const TrafficOptions options_;
  ps::Session* session_;
  const std::vector<int32_t> ids_;
  const at::Tensor gradients_;
  std::deque<Open> open_;
  std::vector<double> latencies_;
  int64_t step_ = 0;
};

absl::StatusOr<std::unique_ptr<ps::Session>> OpenSession(const SessionTrafficOptions& options,
                                                         const std::string& address, int rank) {
  ps::SessionOptions session;
  session.servers = {address};
  session.space = "bench";
  session.rank = rank;
  session.world = options.traffic.workers;
  session.consistency = ps::Consistency::kAsp;  // workers are not to wait for each other
  session.message_bytes = options.traffic.message_bytes;
  session.window_bytes = options.traffic.window_bytes;
  MIXREC_ASSIGN_OR_RETURN(auto opened, ps::Session::Open(session));
  ps::TableSpec table;
  table.name = kTable;
  table.rows = options.traffic.rows * options.table_factor;
  table.parts = {{"rows", options.traffic.width, 0.01}};
  table.optimizer.kind = options.optimizer;
  MIXREC_RETURN_IF_ERROR(opened->CreateTable(table));
  return opened;
}

absl::StatusOr<std::string> Measure(const SessionTrafficOptions& options, int rank,
                                    ps::Session* session) {
  Worker worker(options, rank, session);
  const double cpu = CpuSeconds(), seconds = options.traffic.seconds;
  MIXREC_ASSIGN_OR_RETURN(const std::vector<double> warming, worker.Run(seconds / 4));
  const double start = Now();
  MIXREC_ASSIGN_OR_RETURN(const std::vector<double> latencies, worker.Run(seconds));
  const double took = Now() - start;
  return WorkerReport(options.traffic, latencies, took, CpuSeconds() - cpu,
                      static_cast<int64_t>(warming.size() + latencies.size()));
}

// Ends only with its parent: the traffic of the others must not end with this one's.
void Work(const SessionTrafficOptions& options, const std::string& address, int rank,
          Speaker* parent) {
  at::set_num_threads(1);
  auto session = OpenSession(options, address, rank);
  if (!session.ok()) return parent->Say(std::string(session.status().message()));
  parent->Say("ready");
  const auto report = Measure(options, rank, session->get());
  parent->Say(report.ok() ? *report : std::string(report.status().message()));
  ::pause();
}

absl::StatusOr<std::unique_ptr<Child>> StartWorker(const SessionTrafficOptions& options,
                                                   const std::string& address, int rank) {
  return Child::Start([&](Speaker* parent) { Work(options, address, rank, parent); });
}

absl::Status AwaitReady(Child* worker) {
  MIXREC_ASSIGN_OR_RETURN(const std::string line, worker->Listen(kPatience));
  if (line != "ready") return FailureError("a worker of the benchmark failed: ", line);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TrafficResult> MeasureSession(const SessionTrafficOptions& options) {
  const TrafficOptions& traffic = options.traffic;
  MIXREC_ASSIGN_OR_RETURN(auto servers, PsServers::Start({traffic.servers, options.replicas,
                                                          options.threads, options.device}));
  std::vector<std::unique_ptr<Child>> workers;
  for (int rank = 0; rank < traffic.workers; ++rank) {
    MIXREC_ASSIGN_OR_RETURN(auto worker, StartWorker(options, servers->address(), rank));
    workers.push_back(std::move(worker));
  }
  for (const auto& worker : workers) MIXREC_RETURN_IF_ERROR(AwaitReady(worker.get()));
  const double cpu = servers->ShardCpuSeconds();
  MIXREC_ASSIGN_OR_RETURN(TrafficResult result, Collect(traffic, workers, {}));
  const double served = servers->ShardCpuSeconds() - cpu;
  result.cpu_us += 1e6 * served / static_cast<double>(result.all_requests);
  return result;
}

absl::StatusOr<double> MeasureIdle(double seconds) {
  SessionTrafficOptions options;
  MIXREC_ASSIGN_OR_RETURN(auto servers, PsServers::Start({}));
  options.traffic.seconds = 0.1;
  MIXREC_ASSIGN_OR_RETURN(auto worker, StartWorker(options, servers->address(), 0));
  MIXREC_RETURN_IF_ERROR(AwaitReady(worker.get()));
  MIXREC_RETURN_IF_ERROR(worker->Listen(kPatience).status());
  const double cpu = servers->ShardCpuSeconds(), start = Now();
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  return (servers->ShardCpuSeconds() - cpu) / (Now() - start);
}

}  // namespace mixrec::bench
