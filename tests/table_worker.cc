// A worker without a model, for tests with real processes: embeddings from a sparse table, summed
// to states, through the softmax of an item table, and the gradients back. Everything depends on
// all that happened before, so a lost, doubled or stale update changes the parameters at the end.
//
//   table_worker servers=HOST:PORT folder=DIR rank=0 world=2 steps=100 save_every=20 attempt=1
//                deadline=20 key_file=FILE
//
// Rank 0 starts from the newest whole snapshot below the folder, saves, and writes DIR/parameters.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <map>
#include <numeric>
#include <thread>

#include "common/file.h"
#include "common/random.h"
#include "ps/session.h"
#include "ps/snapshot.h"

namespace mixrec::ps {
namespace {

constexpr int64_t kRows = 500, kItems = 301, kWidth = 16;
constexpr int kSamples = 8, kRowsOfSample = 5;  // of a step, over all ranks
constexpr double kRate = 0.01;

using Arguments = std::map<std::string, std::string>;

Arguments ReadArguments(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    arguments[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
  }
  return arguments;
}

TableSpec Embeddings() {
  TableSpec spec;
  spec.name = "embeddings";
  spec.rows = kRows;
  spec.parts = {{"embeddings.weight", kWidth, 0.3}};
  spec.seed = 11;
  return spec;
}

TableSpec Items() {
  TableSpec spec;
  spec.name = "items";
  spec.rows = kItems;
  spec.parts = {{"items.weight", kWidth, 0.3}, {"items.bias", 1, 0}};
  spec.partition = Partition::kRanges;
  spec.dense = true;
  spec.seed = 12;
  return spec;
}

std::vector<int32_t> AllIds(int64_t rows) {
  std::vector<int32_t> ids(static_cast<size_t>(rows));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

// What a rank does in a step: a function of the step alone.
struct Batch {
  std::vector<int32_t> ids;                 // distinct
  std::vector<std::vector<int64_t>> picks;  // positions in `ids` of each sample's rows
  std::vector<int32_t> labels;
};

Batch MakeBatch(int64_t step, int rank, int world) {
  Batch batch;
  std::map<int32_t, int64_t> positions;
  for (int sample = rank * kSamples / world; sample < (rank + 1) * kSamples / world; ++sample) {
    RandomStream random(
        HashKey(7, "sample", static_cast<uint64_t>(step), static_cast<uint64_t>(sample)));
    batch.picks.emplace_back();
    for (int k = 0; k < kRowsOfSample; ++k) {
      const auto id = static_cast<int32_t>(random.Below(kRows));
      const auto position = static_cast<int64_t>(batch.ids.size());
      const auto [found, is_new] = positions.emplace(id, position);
      if (is_new) batch.ids.push_back(id);
      batch.picks.back().push_back(found->second);
    }
    batch.labels.push_back(static_cast<int32_t>(random.Below(kItems)));
  }
  return batch;
}

absl::Status Step(Session* session, int64_t step, const Batch& batch) {
  MIXREC_ASSIGN_OR_RETURN(const at::Tensor rows,
                          session->FinishPull(session->StartPull("embeddings", step, batch.ids)));
  const auto count = static_cast<int64_t>(batch.picks.size());
  const at::Tensor states = at::zeros({count, kWidth});
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t position : batch.picks[static_cast<size_t>(n)]) states[n].add_(rows[position]);
  }
  const auto forward = session->StartSoftmax("items", step, states, batch.labels, {});
  MIXREC_ASSIGN_OR_RETURN(const SoftmaxResult result, session->FinishSoftmax(forward));
  const at::Tensor weights = at::full({count}, 1.0 / kSamples);
  const auto backward = session->StartSoftmaxBackward(forward, kRate, result.log_sum_exp, weights);
  const at::Tensor gradients = at::zeros_like(rows);
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t position : batch.picks[static_cast<size_t>(n)]) {
      gradients[position].add_(result.gradient[n], 1.0 / kSamples);
    }
  }
  const auto push = session->StartPush("embeddings", step, kRate, batch.ids, gradients);
  MIXREC_RETURN_IF_ERROR(session->Finish(backward));
  return session->Finish(push);
}

// The newest whole snapshot and its step; empty and 0 when there is none.
std::pair<std::string, int64_t> NewestSnapshot(const std::string& folder) {
  std::pair<std::string, int64_t> newest{"", 0};
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.is_directory() || !CheckSnapshot(entry.path()).ok()) continue;
    const auto info = ReadSnapshotInfo(entry.path());
    if (info.ok() && info->step > newest.second) newest = {entry.path(), info->step};
  }
  return newest;
}

class Worker {
 public:
  explicit Worker(Arguments arguments) : arguments_(std::move(arguments)) {
    options_.servers = {arguments_["servers"]};
    options_.space = arguments_["folder"];
    options_.rank = static_cast<int>(Number("rank"));
    options_.world = static_cast<int>(Number("world"));
    options_.deadline_seconds = static_cast<double>(Number("deadline"));
    options_.peer_seconds = 60;
    options_.lease_seconds = 120;
    options_.key_file = arguments_["key_file"];
  }

  absl::Status Run() {
    int64_t step = 0;
    if (options_.rank == 0) {
      MIXREC_ASSIGN_OR_RETURN(step, Begin());
    } else {
      MIXREC_ASSIGN_OR_RETURN(step, WaitForRankZero());
      MIXREC_RETURN_IF_ERROR(Open());
    }
    for (; step < Number("steps"); ++step) {
      if (options_.rank == 0 && step > 0 && step % Number("save_every") == 0) {
        MIXREC_RETURN_IF_ERROR(
            session_->Save(StrCat(arguments_["folder"], "/snapshot.", step), step));
      }
      std::cout << "step " << step << std::endl;
      MIXREC_RETURN_IF_ERROR(
          Step(session_.get(), step, MakeBatch(step, options_.rank, options_.world)));
    }
    return options_.rank == 0 ? WriteParameters(step) : absl::OkStatus();
  }

 private:
  int64_t Number(const std::string& name) { return std::stoll(arguments_[name]); }
  std::string ReadyFile() { return StrCat(arguments_["folder"], "/ready.", arguments_["attempt"]); }

  absl::Status Open() {
    MIXREC_ASSIGN_OR_RETURN(session_, Session::Open(options_));
    MIXREC_RETURN_IF_ERROR(session_->CreateTable(Embeddings()));
    return session_->CreateTable(Items());
  }

  // Empties the namespace and fills it from the newest snapshot; the others may come then.
  absl::StatusOr<int64_t> Begin() {
    MIXREC_ASSIGN_OR_RETURN(session_, Session::Open(options_));
    MIXREC_RETURN_IF_ERROR(session_->Drop());
    session_.reset();
    MIXREC_RETURN_IF_ERROR(Open());
    const auto [snapshot, step] = NewestSnapshot(arguments_["folder"]);
    if (step > 0) MIXREC_RETURN_IF_ERROR(session_->Restore(snapshot, step));
    MIXREC_RETURN_IF_ERROR(WriteFileAtomic(ReadyFile(), std::to_string(step)));
    return step;
  }

  absl::StatusOr<int64_t> WaitForRankZero() {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!PathExists(ReadyFile())) {
      if (std::chrono::steady_clock::now() > until) {
        return FailureError("rank 0 has not begun after 60 s: no ", ReadyFile());
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(ReadyFile()));
    return std::stoll(text);
  }

  absl::Status WriteParameters(int64_t step) {
    std::string bytes;
    for (const TableSpec& spec : {Embeddings(), Items()}) {
      MIXREC_ASSIGN_OR_RETURN(const at::Tensor rows, session_->FinishPull(session_->StartPull(
                                                         spec.name, step, AllIds(spec.rows))));
      bytes.append(static_cast<const char*>(rows.data_ptr()), rows.nbytes());
    }
    return WriteFileAtomic(arguments_["folder"] + "/parameters", bytes);
  }

  Arguments arguments_;
  SessionOptions options_;
  std::unique_ptr<Session> session_;
};

}  // namespace
}  // namespace mixrec::ps

int main(int argc, char** argv) {
  at::set_num_threads(1);
  mixrec::ps::Worker worker(mixrec::ps::ReadArguments(argc, argv));
  const absl::Status status = worker.Run();
  if (!status.ok()) std::cerr << "table_worker: " << status.message() << std::endl;
  return mixrec::ExitCodeOf(status);
}
