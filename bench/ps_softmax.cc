#include "bench/ps_softmax.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "bench/processes.h"
#include "bench/ps_servers.h"
#include "ps/session.h"

namespace mixrec::bench {
namespace {

using Json = nlohmann::json;

constexpr int kTurns = 5;
constexpr double kPatience = 120;
constexpr char kTable[] = "item_projection";

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

double StepOperations(const SoftmaxBenchOptions& options) {
  return 6.0 * static_cast<double>(options.states * options.width * options.items);
}

// Seconds of each call, for so long, once at least.
template <typename Call>
std::vector<double> TimeCalls(double seconds, Call call) {
  std::vector<double> times;
  for (const double end = Now() + seconds; times.empty() || Now() < end;) {
    const double start = Now();
    call();
    times.push_back(Now() - start);
  }
  return times;
}

// Says the median seconds of the three products whenever it is the local side's turn.
class LocalProducts {
 public:
  explicit LocalProducts(const SoftmaxBenchOptions& options)
      : states_(at::randn({options.states, options.width}, options.device)),
        weight_(at::randn({options.items, options.width}, options.device)),
        logits_(at::empty({options.states, options.items}, options.device)),
        numerators_(at::empty({options.states, options.width}, options.device)),
        gradient_(at::empty({options.items, options.width}, options.device)) {}

  void operator()() {
    at::mm_out(logits_, states_, weight_.t());
    at::mm_out(numerators_, logits_, weight_);
    at::mm_out(gradient_, logits_.t(), states_);
    if (gradient_.is_cuda()) gradient_[0][0].item();  // waits for the device
  }

 private:
  at::Tensor states_, weight_, logits_, numerators_, gradient_;
};

ps::TableSpec ItemTable(const SoftmaxBenchOptions& options) {
  ps::TableSpec table;
  table.name = kTable;
  table.rows = options.items;
  table.parts = {{"weight", options.width, 0.02}, {"bias", 1, 0}};
  table.partition = ps::Partition::kRanges;
  table.dense = true;
  return table;
}

// A worker's steps against the shard.
class ServedSteps {
 public:
  ServedSteps(const SoftmaxBenchOptions& options, ps::Session* session)
      : session_(session),
        states_(at::randn({options.states, options.width})),
        weights_(at::full({options.states}, 1.0 / static_cast<double>(options.states))) {
    for (int64_t n = 0; n < options.states; ++n) {
      labels_.push_back(static_cast<int32_t>(n * 7919 % options.items));
    }
  }

  void operator()() {
    if (!status_.ok()) return;
    const auto forward = session_->StartSoftmax(kTable, step_++, states_, labels_, {});
    const auto result = session_->FinishSoftmax(forward);
    status_ = result.status();
    if (!status_.ok()) return;
    status_ = session_->Finish(
        session_->StartSoftmaxBackward(forward, 1e-4, result->log_sum_exp, weights_));
  }
  const absl::Status& status() const { return status_; }

 private:
  ps::Session* session_;
  const at::Tensor states_, weights_;
  std::vector<int32_t> labels_;
  int64_t step_ = 0;
  absl::Status status_;
};

absl::StatusOr<Json> MeasureTurns(const SoftmaxBenchOptions& options, const PsServers& servers) {
  at::set_num_threads(options.threads);
  ps::SessionOptions session;
  session.servers = {servers.address()};
  session.space = "bench";
  MIXREC_ASSIGN_OR_RETURN(auto opened, ps::Session::Open(session));
  MIXREC_RETURN_IF_ERROR(opened->CreateTable(ItemTable(options)));
  ServedSteps served(options, opened.get());
  LocalProducts local(options);
  served();
  local();
  std::vector<double> steps, products;
  double cpu = 0;
  for (int turn = 0; turn < kTurns; ++turn) {
    const auto local_times = TimeCalls(options.seconds / kTurns, std::ref(local));
    products.insert(products.end(), local_times.begin(), local_times.end());
    const double before = CpuSeconds() + servers.ShardCpuSeconds();
    const auto times = TimeCalls(options.seconds / kTurns, std::ref(served));
    cpu += CpuSeconds() + servers.ShardCpuSeconds() - before;
    steps.insert(steps.end(), times.begin(), times.end());
    MIXREC_RETURN_IF_ERROR(served.status());
  }
  return Json{{"step", Quantile(steps, 0.5)},
              {"slow", Quantile(steps, 0.99)},
              {"local", Quantile(products, 0.5)},
              {"cpu", cpu / static_cast<double>(steps.size())}};
}

}  // namespace

absl::StatusOr<SoftmaxResult> MeasureSoftmax(const SoftmaxBenchOptions& options) {
  MIXREC_ASSIGN_OR_RETURN(const auto servers,
                          PsServers::Start({1, 0, options.threads, options.device}));
  MIXREC_ASSIGN_OR_RETURN(
      const auto worker, Child::Start([&](Speaker* parent) {
        const auto report = MeasureTurns(options, *servers);
        parent->Say(report.ok() ? report->dump() : std::string(report.status().message()));
        ::pause();  // its sessions end with the parent
      }));
  MIXREC_ASSIGN_OR_RETURN(const std::string line, worker->Listen(options.seconds * 4 + kPatience));
  const Json report = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!report.is_object()) return FailureError("the worker of the benchmark failed: ", line);
  SoftmaxResult result;
  result.gflops = StepOperations(options) / report["step"].get<double>() / 1e9;
  result.local_gflops = StepOperations(options) / report["local"].get<double>() / 1e9;
  result.p50_us = 1e6 * report["step"].get<double>();
  result.p99_us = 1e6 * report["slow"].get<double>();
  result.cpu_us = 1e6 * report["cpu"].get<double>();
  return result;
}

}  // namespace mixrec::bench
