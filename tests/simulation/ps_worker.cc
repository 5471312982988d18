#include "tests/simulation/ps_worker.h"

#include <algorithm>
#include <numeric>

#include "common/file.h"
#include "common/log.h"
#include "common/random.h"
#include "ps/snapshot.h"

namespace mixrec::ps {
namespace {

constexpr char kSpace[] = "simulated";
constexpr net::Time kPoll = 5 * net::kMillisecond;

std::vector<int32_t> AllRows(int64_t rows) {
  std::vector<int32_t> ids(static_cast<size_t>(rows));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

}  // namespace

SimulatedWorker::SimulatedWorker(const ClientOptions& options, int rank, Job* job)
    : client_(options), rank_(rank), job_(job), attempt_(job->attempt), step_(job->first_step) {}

void SimulatedWorker::Start(net::Outbox* out) {
  client_.Start(out);
  Advance(out);
}

void SimulatedWorker::Receive(const net::Peer& from, const net::Message& message,
                              net::Outbox* out) {
  client_.Receive(from, message, out);
  Advance(out);
}

void SimulatedWorker::Tick(net::Outbox* out) { Advance(out); }

void SimulatedWorker::Fail(const absl::Status& status) {
  if (attempt_ != job_->attempt || job_->failed) return;
  job_->failed = true;
  job_->failure = StrCat("rank ", rank_, ": ", std::string(status.message()));
}

Client::Done SimulatedWorker::Then(std::function<void()> next) {
  waiting_ = true;
  return [this, next = std::move(next)](const absl::Status& status) {
    waiting_ = false;
    if (!status.ok()) return Fail(status);
    next();
  };
}

bool SimulatedWorker::Barrier() {
  auto& reached = job_->barrier;
  if (!at_barrier_) ++reached[static_cast<size_t>(rank_)];
  const int mine = reached[static_cast<size_t>(rank_)];
  at_barrier_ = std::any_of(reached.begin(), reached.end(), [mine](int n) { return n < mine; });
  return !at_barrier_;
}

void SimulatedWorker::Advance(net::Outbox* out) {
  for (bool again = true; again && !job_->failed;) {
    const Phase before = phase_;
    switch (phase_) {
      case Phase::kConnect:
        if (client_.connected()) Enter(Phase::kClear);
        break;
      case Phase::kClear:
        Clear();
        break;
      case Phase::kOpen:
        Open();
        break;
      case Phase::kRestore:
        Restore();
        break;
      case Phase::kStep:
        Step(out);
        break;
      case Phase::kSave:
        Save();
        break;
      case Phase::kDrain:
        if (pushes_ == 0 && Barrier()) Enter(Phase::kCheck);
        break;
      case Phase::kCheck:
        Check();
        break;
      case Phase::kDone:
        break;
    }
    again = phase_ != before;
  }
  client_.Tick(out);
  if (phase_ != Phase::kDone && !job_->failed) out->WakeAt(out->now() + kPoll);
}

void SimulatedWorker::Clear() {
  if (waiting_) return;
  if (rank_ == 0 && attempt_ > 0 && !pulled_) {
    return client_.Drop(kSpace, Then([this] { pulled_ = true; }));
  }
  if (Barrier()) Enter(Phase::kOpen), pulled_ = false;
}

void SimulatedWorker::Open() {
  if (waiting_) return;
  if (pulled_) {
    if (Barrier()) Enter(Phase::kRestore), pulled_ = false;
    return;
  }
  const auto create = [this](const TableSpec& spec, std::function<void()> next) {
    client_.CreateTable(spec, Then(std::move(next)));
  };
  client_.Open(Then([this, create] {
    create(CountTable(job_->options), [this, create] {
      create(AdamTable(job_->options),
             [this, create] { create(SoftmaxTable(job_->options), [this] { pulled_ = true; }); });
    });
  }));
}

void SimulatedWorker::Restore() {
  if (waiting_) return;
  if (rank_ == 0 && !job_->snapshot.empty() && !pulled_) {
    return client_.Restore(job_->snapshot, job_->first_step, Then([this] { pulled_ = true; }));
  }
  if (Barrier()) Enter(Phase::kStep), pulled_ = false;
}

void SimulatedWorker::Step(net::Outbox* out) {
  if (waiting_) return;
  if (step_ == job_->options.steps) return Enter(Phase::kDrain);
  if (!pulled_) {
    if (out->now() < think_until_) return out->WakeAt(think_until_);
    return PullStep();
  }
  if (pushes_ > 3) return;
  PushStep();
  const RandomStream base(HashKey(job_->options.seed, "think", static_cast<uint64_t>(rank_),
                                  static_cast<uint64_t>(step_)));
  RandomStream random = base;
  think_until_ = out->now() + static_cast<net::Time>(random.Uniform() *
                                                     job_->options.think_seconds * net::kSecond);
  const int64_t every = job_->options.save_every;
  if (every > 0 && step_ % every == 0 && step_ < job_->options.steps) Enter(Phase::kSave);
}

void SimulatedWorker::PullStep() {
  waiting_ = true;
  RandomStream random(HashKey(job_->options.seed, "read", static_cast<uint64_t>(rank_),
                              static_cast<uint64_t>(step_)));
  std::vector<int32_t> ids;
  for (int32_t row = 0; row < job_->options.rows; ++row) {
    if (random.Uniform() < 0.6) ids.push_back(row);
  }
  const int64_t own = job_->acknowledged[static_cast<size_t>(rank_)];
  client_.Pull("counts", step_, ids, [this, ids, own](const absl::StatusOr<at::Tensor>& rows) {
    waiting_ = false;
    if (!rows.ok()) return Fail(rows.status());
    job_->CheckRows(rank_, step_, ids, *rows, own);
    SoftmaxStep();
  });
}

void SimulatedWorker::SoftmaxStep() {
  RandomStream random(HashKey(job_->options.seed, "states", static_cast<uint64_t>(rank_),
                              static_cast<uint64_t>(step_)));
  const auto count = static_cast<int64_t>(random.Below(8));
  states_ = at::empty({count, 3}, at::kFloat);
  for (int64_t k = 0; k < states_.numel(); ++k) {
    states_.data_ptr<float>()[k] = static_cast<float>(random.Normal());
  }
  labels_.clear();
  for (int64_t n = 0; n < count; ++n) {
    labels_.push_back(
        static_cast<int32_t>(random.Below(static_cast<uint64_t>(job_->options.rows))));
  }
  waiting_ = true;
  client_.Softmax("items", step_, states_, labels_, {},
                  [this](const absl::StatusOr<SoftmaxResult>& result) {
                    waiting_ = false;
                    if (!result.ok()) return Fail(result.status());
                    log_sum_exp_ = result->log_sum_exp;
                    pulled_ = true;
                  });
}

void SimulatedWorker::PushStep() {
  const std::vector<int32_t>& ids = job_->RowsOf(rank_, step_);
  const auto count = static_cast<int64_t>(ids.size());
  at::Tensor gradients = at::zeros({count, job_->options.workers}, at::kFloat);
  if (count > 0) gradients.select(1, rank_).fill_(-1.0f);
  at::Tensor values = at::empty({count, 3}, at::kFloat);
  RandomStream random(HashKey(job_->options.seed, "gradient", static_cast<uint64_t>(rank_),
                              static_cast<uint64_t>(step_)));
  for (int64_t k = 0; k < values.numel(); ++k) {
    values.data_ptr<float>()[k] = static_cast<float>(random.Uniform() - 0.5);
  }
  const int64_t done = step_ + 1;
  job_->started[static_cast<size_t>(rank_)] = done;
  pushes_ += 3;
  const auto acknowledge = [this](const absl::Status& status) {
    --pushes_;
    if (!status.ok()) Fail(status);
  };
  client_.Push("counts", step_, 1.0, ids, gradients, [=](const absl::Status& status) {
    acknowledge(status);
    int64_t& mine = job_->acknowledged[static_cast<size_t>(rank_)];
    // Of several pushes under way the later may be acknowledged first.
    if (status.ok() && mine + 1 == done) mine = done;
  });
  client_.Push("values", step_, 1e-2, ids, values, acknowledge);
  client_.SoftmaxBackward("items", step_, 1e-2, states_, labels_, {}, log_sum_exp_,
                          at::ones({states_.size(0)}, at::kFloat), acknowledge);
  ++step_;
  pulled_ = false;
}

void SimulatedWorker::Save() {
  if (waiting_ || pushes_ > 0) return;
  const std::string folder = StrCat(job_->folder, "/", attempt_, "-", step_);
  if (rank_ == 0 && !pulled_) {
    if (!Barrier()) return;
    pulled_ = true;  // from here on: saving
    waiting_ = true;
    CHECK(MakeFolder(folder).ok());
    return client_.Save(folder, step_, [this, folder](absl::StatusOr<std::vector<Saved>> files) {
      waiting_ = false;
      if (!files.ok()) return Fail(files.status());
      const absl::Status written = WriteSnapshotManifest(folder, step_, *files);
      if (!written.ok()) return Fail(written);
      job_->snapshot = folder;
      job_->first_step = step_;
    });
  }
  if (rank_ != 0 && !pulled_) {
    if (!Barrier()) return;
    pulled_ = true;
  }
  if (Barrier()) Enter(Phase::kStep), pulled_ = false;
}

void SimulatedWorker::Check() {
  if (waiting_) return;
  if (rank_ != 0 || pulled_) {
    ++job_->ranks_done;
    return Enter(Phase::kDone);
  }
  waiting_ = true;
  const auto pull = [this](const std::string& table, std::function<void(const at::Tensor&)> next) {
    const auto done = [this, next](const absl::StatusOr<at::Tensor>& rows) {
      rows.ok() ? next(*rows) : Fail(rows.status());
    };
    client_.Pull(table, step_, AllRows(job_->options.rows), done, /*settled=*/true);
  };
  pull("counts", [this, pull](const at::Tensor& counts) {
    pull("values", [this, pull, counts](const at::Tensor& values) {
      pull("items", [this, counts, values](const at::Tensor& items) {
        waiting_ = false;
        job_->CheckEnd(counts, values, items);
        pulled_ = true;
      });
    });
  });
}

}  // namespace mixrec::ps
