#include "ps/served_table.h"

#include <algorithm>
#include <cstring>

#include "common/log.h"
#include "ps/tensor_buffer.h"

namespace mixrec::ps {
namespace {

absl::Span<const int32_t> IdsOf(const net::Buffer& ids) {
  return {reinterpret_cast<const int32_t*>(ids.data()), ids.size() / sizeof(int32_t)};
}

const float* Floats(const net::Buffer& buffer) {
  return reinterpret_cast<const float*>(buffer.data());
}

}  // namespace

ServedTable::ServedTable(const TableSpec& spec, const GateOptions& gate, BucketRange buckets,
                         at::Device device, Mutation mutation)
    : mutation_(mutation), table_(spec, buckets, device), gate_(gate) {
  if (spec.softmax()) vocabulary_ = std::make_unique<Vocabulary>(&table_);
}

bool ServedTable::Admits(int64_t step, int64_t at_least) const {
  if (mutation_ == Mutation::kStaleRead) return true;
  return gate_.Admits(step) && gate_.Settled(at_least);
}

Answer ServedTable::Parked() const {
  return Refuse(Code::kParked, "table ", spec().name, " ", gate_.Missing());
}

Answer ServedTable::Add(int rank, const Push& push) {
  const absl::Span<const int32_t> ids = IdsOf(push.ids);
  if (spec().dense) return Refuse(Code::kRefused, "table ", spec().name, " takes no sparse pushes");
  if (!table_.Owns(ids)) {
    return Refuse(Code::kRefused, "a push to table ", spec().name, " names rows of other shards");
  }
  if (push.gradients.size() != ids.size() * static_cast<size_t>(table_.width()) * sizeof(float)) {
    return Refuse(Code::kRefused, "a push to table ", spec().name, " has ", ids.size(),
                  " rows and gradients of another size than width ", table_.width());
  }
  return AddPiece({rank, push.step, push.part, push.parts, push});
}

Answer ServedTable::AddPiece(Piece piece) {
  auto groups = gate_.Add(std::move(piece));
  if (!groups.ok()) return Refuse(Code::kRefused, std::string(groups.status().message()));
  for (const std::vector<Piece>& group : *groups) {
    if (std::holds_alternative<SoftmaxBackward>(group.front().body)) {
      ApplySoftmax(group);
    } else if (group.front().rank == group.back().rank) {
      ApplySparse(group);
    } else {
      ApplyMerged(group);
    }
  }
  return {Code::kOk, "", Done{gate_.version()}};
}

// One rank's step: its rows are distinct.
void ServedTable::ApplySparse(const std::vector<Piece>& pieces) {
  for (const Piece& piece : pieces) {
    const auto& push = std::get<Push>(piece.body);
    table_.Push(IdsOf(push.ids), Floats(push.gradients), push.learning_rate);
  }
}

// Several ranks' step: the gradients of a row are added in the order of the ranks, then it is
// stepped once.
void ServedTable::ApplyMerged(const std::vector<Piece>& pieces) {
  struct Contribution {
    int32_t id;
    const float* gradient;
  };
  const int64_t width = table_.width();
  std::vector<Contribution> all;
  for (const Piece& piece : pieces) {
    const auto& push = std::get<Push>(piece.body);
    const float* gradient = Floats(push.gradients);
    for (const int32_t id : IdsOf(push.ids)) {
      all.push_back({id, gradient});
      gradient += width;
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Contribution& a, const Contribution& b) { return a.id < b.id; });
  std::vector<int32_t> ids;
  std::vector<float> sums;
  sums.reserve(all.size() * static_cast<size_t>(width));
  for (const Contribution& one : all) {
    if (!ids.empty() && ids.back() == one.id) {
      float* sum = &sums[sums.size() - static_cast<size_t>(width)];
      for (int64_t k = 0; k < width; ++k) sum[k] += one.gradient[k];
    } else {
      ids.push_back(one.id);
      sums.insert(sums.end(), one.gradient, one.gradient + width);
    }
  }
  table_.Push(ids, sums.data(), std::get<Push>(pieces.front().body).learning_rate);
}

Answer ServedTable::Read(const Pull& pull) {
  const absl::Span<const int32_t> ids = IdsOf(pull.ids);
  if (!table_.Owns(ids)) {
    return Refuse(Code::kRefused, "a pull of table ", spec().name, " names rows of other shards");
  }
  if (!Admits(pull.step, pull.at_least)) return Parked();
  const size_t bytes = ids.size() * static_cast<size_t>(table_.width()) * sizeof(float);
  return {Code::kOk, "", Rows{answers_.Make(bytes, [&](char* out) {
            table_.Pull(ids, reinterpret_cast<float*>(out));
          })}};
}

}  // namespace mixrec::ps
