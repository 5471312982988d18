// A parameter server without a network: shards in this process behind ps::Session. Pulls wait for
// their step as at a server in bsp: rows are read when the result is asked for, and must then
// contain every step before.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ps/combine.h"
#include "ps/session.h"
#include "ps/snapshot.h"
#include "ps/table.h"
#include "ps/vocabulary.h"

namespace mixrec::ps {

class FakeSession : public Session {
 public:
  explicit FakeSession(int shards) : shards_(shards) {}

  absl::Status CreateTable(const TableSpec& spec) override {
    Served& table = tables_[spec.name];
    if (!table.shards.empty()) {
      EXPECT_TRUE(table.shards[0].table->spec() == spec) << spec.name << " has another spec";
      return absl::OkStatus();
    }
    for (int s = 0; s < shards_; ++s) {
      Shard& shard = table.shards.emplace_back();
      shard.table = std::make_unique<Table>(spec, EvenBuckets(s, shards_), at::kCPU);
      if (spec.softmax()) shard.vocabulary = std::make_unique<Vocabulary>(shard.table.get());
    }
    return absl::OkStatus();
  }

  Ticket StartPull(const std::string& table, int64_t step, std::vector<int32_t> ids) override {
    started_pulls += tables_.at(table).version < step ? 1 : 0;
    pulls_[++ticket_] = {table, step, std::move(ids)};
    return ticket_;
  }
  absl::StatusOr<at::Tensor> FinishPull(Ticket ticket) override {
    if (failing) return FailureError("shard 1 is lost");
    const Wanted wanted = std::move(pulls_.at(ticket));
    pulls_.erase(ticket);
    Served& table = tables_.at(wanted.table);
    EXPECT_EQ(table.version, wanted.step) << "rows of " << wanted.table;
    at::Tensor rows = at::empty({static_cast<int64_t>(wanted.ids.size()), table.width()});
    for (size_t i = 0; i < wanted.ids.size(); ++i) {
      table.Owner(wanted.ids[i])
          .Pull({wanted.ids[i]}, rows.data_ptr<float>() + static_cast<int64_t>(i) * table.width());
    }
    return rows;
  }

  Ticket StartPush(const std::string& name, int64_t step, double learning_rate,
                   std::vector<int32_t> ids, at::Tensor gradients) override {
    Served& table = tables_.at(name);
    EXPECT_EQ(table.version, step) << "push to " << name;
    for (size_t i = 0; i < ids.size(); ++i) {
      const float* row = gradients.data_ptr<float>() + static_cast<int64_t>(i) * table.width();
      table.Owner(ids[i]).Push({ids[i]}, row, learning_rate);
    }
    table.version = step + 1;
    return ++ticket_;
  }

  Ticket StartSoftmax(const std::string& name, int64_t step, at::Tensor states,
                      std::vector<int32_t> labels, const Sampling& sampling) override {
    Served& table = tables_.at(name);
    EXPECT_EQ(table.version, step) << "softmax over " << name;
    Forward& forward = forwards_[++ticket_];
    forward = {name, step, sampling, {}, {}};
    for (Shard& shard : table.shards) {
      forward.batches.push_back(shard.vocabulary->MakeBatch(states, labels.data()));
      forward.answers.push_back(
          shard.vocabulary->Forward(sampling, step, int64_t{1} << 30, &forward.batches.back()));
    }
    return ticket_;
  }
  absl::StatusOr<SoftmaxResult> FinishSoftmax(Ticket ticket) override {
    if (failing) return FailureError("shard 1 is lost");
    return CombineSoftmax(forwards_.at(ticket).answers);
  }
  Ticket StartSoftmaxBackward(Ticket ticket, double learning_rate, at::Tensor log_sum_exp,
                              at::Tensor weights) override {
    const Forward& forward = forwards_.at(ticket);
    Served& table = tables_.at(forward.table);
    for (size_t s = 0; s < table.shards.size(); ++s) {
      table.shards[s].vocabulary->Backward(forward.sampling, forward.step, forward.batches[s],
                                           log_sum_exp, weights);
      table.shards[s].vocabulary->ApplyStep(learning_rate);
    }
    table.version = forward.step + 1;
    forwards_.erase(ticket);
    return ++ticket_;
  }
  absl::Status Finish(Ticket) override { return absl::OkStatus(); }
  absl::Status Flush() override { return absl::OkStatus(); }

  absl::StatusOr<std::vector<int64_t>> Rank(const std::string& name, int64_t step,
                                            const RankRequest& request) override {
    Served& table = tables_.at(name);
    EXPECT_EQ(table.version, step) << "ranks over " << name;
    at::Tensor scores = at::full({request.states.size(0)}, std::nan(""), at::kFloat);
    for (Shard& shard : table.shards) {
      const at::Tensor own = shard.vocabulary->TargetScores(request.states, request.targets);
      scores = at::where(own.isnan(), scores, own);
    }
    at::Tensor ahead = at::zeros({request.states.size(0)}, at::kLong);
    for (Shard& shard : table.shards) {
      ahead += shard.vocabulary->CountAhead(request.states, request.targets, scores,
                                            Excluded(request.excluded));
    }
    ++rank_calls;
    const auto ranks = ahead + 1;
    return std::vector<int64_t>(ranks.data_ptr<int64_t>(),
                                ranks.data_ptr<int64_t>() + ranks.numel());
  }
  absl::StatusOr<TopKResult> TopK(const std::string& name, int64_t step,
                                  const TopKRequest& request) override {
    Served& table = tables_.at(name);
    EXPECT_EQ(table.version, step) << "best rows of " << name;
    std::vector<std::pair<at::Tensor, at::Tensor>> lists;
    for (Shard& shard : table.shards) {
      lists.push_back(
          shard.vocabulary->TopK(request.states, request.k, Excluded(request.excluded)));
    }
    return MergeTopK(lists, request.k);
  }

  absl::Status Save(const std::string& folder, int64_t step) override {
    std::vector<Saved> files;
    for (int s = 0; s < shards_; ++s) {
      SnapshotContent content{step, EvenBuckets(s, shards_), {}};
      for (auto& [name, table] : tables_) {
        EXPECT_EQ(table.version, step) << "saving " << name;
        content.tables.push_back(table.shards[static_cast<size_t>(s)].table.get());
      }
      MIXREC_ASSIGN_OR_RETURN(files.emplace_back(), WriteSnapshotFile(folder, content));
    }
    return WriteSnapshotManifest(folder, step, files);
  }
  absl::Status Restore(const std::string& folder, int64_t step) override {
    MIXREC_RETURN_IF_ERROR(CheckSnapshot(folder));
    for (auto& [name, table] : tables_) {
      for (Shard& shard : table.shards) {
        MIXREC_RETURN_IF_ERROR(ReadSnapshotTable(folder, shard.table.get()));
      }
      table.version = step;
    }
    return absl::OkStatus();
  }
  absl::Status Drop() override {
    tables_.clear();
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> Stats() override { return std::string("[]"); }

  int64_t started_pulls = 0;  // before their rows were there
  int64_t rank_calls = 0;
  bool failing = false;

 private:
  struct Shard {
    std::unique_ptr<Table> table;
    std::unique_ptr<Vocabulary> vocabulary;
  };
  struct Served {
    std::vector<Shard> shards;
    int64_t version = 0;
    int64_t width() const { return shards[0].table->width(); }
    Table& Owner(int32_t row) {
      for (Shard& shard : shards) {
        if (shard.table->Owns({row})) return *shard.table;
      }
      ADD_FAILURE() << "nobody has row " << row;
      return *shards[0].table;
    }
  };
  struct Wanted {
    std::string table;
    int64_t step = 0;
    std::vector<int32_t> ids;
  };
  struct Forward {
    std::string table;
    int64_t step = 0;
    Sampling sampling;
    std::vector<SoftmaxBatch> batches;
    std::vector<ShardSoftmax> answers;
  };

  static Exclusions Excluded(const std::vector<std::vector<int32_t>>& lists) {
    Exclusions excluded;
    if (lists.empty()) return excluded;
    excluded.offsets.push_back(0);
    for (const auto& list : lists) {
      excluded.ids.insert(excluded.ids.end(), list.begin(), list.end());
      excluded.offsets.push_back(static_cast<int32_t>(excluded.ids.size()));
    }
    return excluded;
  }

  int shards_;
  Ticket ticket_ = 0;
  std::map<std::string, Served> tables_;
  std::map<Ticket, Wanted> pulls_;
  std::map<Ticket, Forward> forwards_;
};

}  // namespace mixrec::ps
