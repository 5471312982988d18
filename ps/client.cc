#include "ps/client.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "common/log.h"
#include "ps/codec.h"
#include "ps/gather.h"
#include "ps/tensor_buffer.h"

namespace mixrec::ps {
namespace {

net::Buffer IdsBuffer(const std::vector<int32_t>& ids, size_t first, size_t count) {
  return net::Buffer::Copy(ids.data() + first, count * sizeof(int32_t));
}

// Calls each(first, count, position) for stretches of neighbouring positions.
template <typename Each>
void ForEachRun(const std::vector<int64_t>& positions, size_t first, size_t count, Each each) {
  const size_t end = first + count;
  for (size_t from = first; from < end;) {
    size_t to = from + 1;
    while (to < end && positions[to] == positions[to - 1] + 1) ++to;
    each(from - first, to - from, positions[from]);
    from = to;
  }
}

// Rows at positions[first, first + count) of `gradients`: shared when they are neighbours, else
// copied together.
net::Buffer RowsBuffer(const at::Tensor& gradients, const std::vector<int64_t>& positions,
                       size_t first, size_t count, size_t row_bytes) {
  if (count == 0) return {};
  const auto last = static_cast<int64_t>(count) - 1;
  if (positions[first + count - 1] - positions[first] == last) {
    return BufferOf(gradients).Slice(static_cast<size_t>(positions[first]) * row_bytes,
                                     count * row_bytes);
  }
  const char* from = static_cast<const char*>(gradients.data_ptr());
  return net::Buffer::Make(count * row_bytes, [&](char* to) {
    ForEachRun(positions, first, count, [&](size_t row, size_t rows, int64_t position) {
      std::memcpy(to + row * row_bytes, from + static_cast<size_t>(position) * row_bytes,
                  rows * row_bytes);
    });
  });
}

absl::StatusOr<net::Buffer> RowsOf(const Wire& answer, size_t count, size_t row_bytes) {
  const auto* found = std::get_if<Rows>(&answer.body);
  if (found != nullptr && found->rows.size() == count * row_bytes) return found->rows;
  return FailureError("a shard answered a pull of ", count, " rows with something else");
}

}  // namespace

Client::Client(const ClientOptions& options) : options_(options), caller_(options.caller) {}

void Client::Start(net::Outbox* out) { caller_.Send(out); }

void Client::Receive(const net::Peer&, const net::Message& message, net::Outbox* out) {
  const absl::StatusOr<Wire> wire = Decode(message);
  if (wire.ok()) {
    caller_.Receive(*wire, out);
  } else {
    LOG(WARNING) << "dropped a message: " << wire.status().message();
  }
  if (connected() && when_connected_) std::exchange(when_connected_, nullptr)();
  Tick(out);
}

void Client::WhenConnected(std::function<void()> call) {
  if (connected()) return call();
  when_connected_ = std::move(call);
}

void Client::Tick(net::Outbox* out) {
  RenewLease(out);
  caller_.Send(out);
}

void Client::RenewLease(net::Outbox* out) {
  const int64_t lease = options_.session.lease_seconds;
  if (lease == 0 || !connected() || tables_.empty()) return;
  if (out->now() >= renew_at_) {
    renew_at_ = out->now() + lease * net::kSecond / 3;
    for (int slot = 0; slot < shards(); ++slot) {
      if (caller_.outstanding(slot) > 0) continue;  // words enough
      caller_.Call(slot, ps::RenewLease{options_.session.space}, 0, "renewing the lease",
                   [](const absl::StatusOr<Wire>&) {});
    }
  }
  out->WakeAt(renew_at_);
}

int64_t Client::FirstStep(int64_t step) {
  if (first_step_ < 0) first_step_ = step;
  return first_step_;
}

const TableSpec& Client::SpecOf(const std::string& table) const {
  const auto found = tables_.find(table);
  CHECK(found != tables_.end()) << "table " << table << " was not created";
  return found->second;
}

std::vector<Client::Share> Client::Split(const TableSpec& spec,
                                         const std::vector<int32_t>& ids) const {
  std::array<uint16_t, kBuckets> slot_of{};
  for (size_t slot = 0; slot < map().slots.size(); ++slot) {
    const BucketRange buckets = map().slots[slot].buckets;
    std::fill(slot_of.begin() + buckets.first, slot_of.begin() + buckets.last,
              static_cast<uint16_t>(slot));
  }
  std::vector<Share> shares(map().slots.size());
  for (Share& share : shares) {
    share.ids.reserve(ids.size() / shares.size() + 64);
    share.positions.reserve(ids.size() / shares.size() + 64);
  }
  for (size_t position = 0; position < ids.size(); ++position) {
    CHECK(ids[position] >= 0 && ids[position] < spec.rows)
        << "row " << ids[position] << " of table " << spec.name << " with " << spec.rows;
    const int64_t bucket = BucketOf(spec.partition, spec.rows, ids[position]);
    Share& share = shares[slot_of[static_cast<size_t>(bucket)]];
    share.ids.push_back(ids[position]);
    share.positions.push_back(static_cast<int64_t>(position));
  }
  return shares;
}

void Client::Broadcast(const Body& body, const std::string& what, Done done) {
  auto gather = std::make_shared<Gather>(static_cast<size_t>(shards()), std::move(done));
  for (int slot = 0; slot < shards(); ++slot) {
    caller_.Call(slot, body, 0, what,
                 [gather](const absl::StatusOr<Wire>& answer) { gather->Add(answer.status()); });
  }
}

void Client::Open(Done done) {
  Broadcast(options_.session, "opening the session", std::move(done));
}

void Client::CreateTable(const TableSpec& spec, Done done) {
  tables_[spec.name] = spec;
  Broadcast(ps::CreateTable{options_.session.space, spec}, StrCat("creating table ", spec.name),
            std::move(done));
}

// The one answer has all rows in order, and becomes the result without a copy.
void Client::PullWhole(int slot, const ps::Pull& pull, const std::vector<int64_t>& sizes,
                       const std::string& what, DoneRows done) {
  const auto row_bytes = static_cast<size_t>(sizes[1]) * sizeof(float);
  const auto count = static_cast<size_t>(sizes[0]);
  caller_.Call(slot, pull, count * row_bytes, what,
               [=, done = std::move(done)](const absl::StatusOr<Wire>& answer) {
                 if (!answer.ok()) return done(answer.status());
                 const absl::StatusOr<net::Buffer> rows = RowsOf(*answer, count, row_bytes);
                 if (!rows.ok()) return done(rows.status());
                 done(TensorOf(*rows, at::kFloat, sizes));
               });
}

void Client::Pull(const std::string& table, int64_t step, std::vector<int32_t> ids, DoneRows done,
                  bool settled) {
  const TableSpec& spec = SpecOf(table);
  const auto row_bytes = static_cast<size_t>(spec.width()) * sizeof(float);
  const size_t piece = std::max<size_t>(1, static_cast<size_t>(options_.message_bytes) / row_bytes);
  auto shares = std::make_shared<std::vector<Share>>(Split(spec, ids));
  size_t pieces = 0;
  for (const Share& share : *shares) pieces += (share.ids.size() + piece - 1) / piece;
  const std::vector<int64_t> sizes{static_cast<int64_t>(ids.size()), spec.width()};
  if (pieces == 0) return done(at::empty(sizes, at::kFloat));
  const int64_t at_least = settled ? step : FirstStep(step);
  const std::string what = StrCat("pull of table ", table, ", step ", step);
  if (pieces == 1) {
    const auto slot = std::find_if(shares->begin(), shares->end(),
                                   [](const Share& share) { return !share.ids.empty(); });
    const ps::Pull pull{KeyOf(table), step, at_least, IdsBuffer(ids, 0, ids.size())};
    return PullWhole(static_cast<int>(slot - shares->begin()), pull, sizes, what, std::move(done));
  }
  const at::Tensor rows =
      TensorOf(results_.Make(ids.size() * row_bytes, [](char*) {}), at::kFloat, sizes);
  auto gather = std::make_shared<Gather>(pieces, [rows, done](const absl::Status& status) {
    done(status.ok() ? absl::StatusOr<at::Tensor>(rows) : status);
  });
  for (size_t slot = 0; slot < shares->size(); ++slot) {
    const Share& share = (*shares)[slot];
    for (size_t first = 0; first < share.ids.size(); first += piece) {
      const size_t count = std::min(piece, share.ids.size() - first);
      const auto place = [rows, shares, slot, first, count, row_bytes,
                          gather](const absl::StatusOr<Wire>& answer) {
        if (!answer.ok()) return gather->Add(answer.status());
        const absl::StatusOr<net::Buffer> found = RowsOf(*answer, count, row_bytes);
        if (!found.ok()) return gather->Add(found.status());
        char* to = static_cast<char*>(rows.data_ptr());
        ForEachRun((*shares)[slot].positions, first, count,
                   [&](size_t row, size_t run, int64_t position) {
                     std::memcpy(to + static_cast<size_t>(position) * row_bytes,
                                 found->data() + row * row_bytes, run * row_bytes);
                   });
        gather->Add(absl::OkStatus());
      };
      caller_.Call(static_cast<int>(slot),
                   ps::Pull{KeyOf(table), step, at_least, IdsBuffer(share.ids, first, count)},
                   count * row_bytes, what, place);
    }
  }
}

void Client::Push(const std::string& table, int64_t step, double learning_rate,
                  std::vector<int32_t> ids, at::Tensor gradients, Done done) {
  const TableSpec& spec = SpecOf(table);
  CHECK(gradients.is_contiguous() && gradients.scalar_type() == at::kFloat &&
        gradients.numel() == static_cast<int64_t>(ids.size()) * spec.width());
  const auto row_bytes = static_cast<size_t>(spec.width()) * sizeof(float);
  const size_t piece = std::max<size_t>(1, static_cast<size_t>(options_.message_bytes) / row_bytes);
  const std::vector<Share> shares = Split(spec, ids);
  const auto parts_of = [piece](const Share& share) {
    return std::max<size_t>(1, (share.ids.size() + piece - 1) / piece);
  };
  size_t pieces = 0;
  for (const Share& share : shares) pieces += parts_of(share);
  auto gather = std::make_shared<Gather>(pieces, std::move(done));
  const std::string what = StrCat("push to table ", table, ", step ", step);
  for (size_t slot = 0; slot < shares.size(); ++slot) {
    const Share& share = shares[slot];
    const size_t parts = parts_of(share);
    for (size_t part = 0; part < parts; ++part) {
      const size_t first = part * piece;
      const size_t count = std::min(piece, share.ids.size() - first);
      caller_.Call(
          static_cast<int>(slot),
          ps::Push{KeyOf(table), step, static_cast<int32_t>(part), static_cast<int32_t>(parts),
                   learning_rate, IdsBuffer(share.ids, first, count),
                   RowsBuffer(gradients, share.positions, first, count, row_bytes)},
          0, what, [gather](const absl::StatusOr<Wire>& answer) { gather->Add(answer.status()); });
    }
  }
}

void Client::Save(const std::string& folder, int64_t step, DoneSaved done) {
  auto saved = std::make_shared<std::vector<Saved>>(static_cast<size_t>(shards()));
  auto gather = std::make_shared<Gather>(static_cast<size_t>(shards()),
                                         [saved, done](const absl::Status& status) {
                                           if (!status.ok()) return done(status);
                                           done(std::move(*saved));
                                         });
  for (int slot = 0; slot < shards(); ++slot) {
    caller_.Call(slot, ps::Save{options_.session.space, folder, step}, 0,
                 StrCat("saving step ", step, " into ", folder),
                 [gather, saved, slot](const absl::StatusOr<Wire>& answer) {
                   const auto* file = answer.ok() ? std::get_if<Saved>(&answer->body) : nullptr;
                   if (file != nullptr) (*saved)[static_cast<size_t>(slot)] = *file;
                   gather->Add(answer.status());
                 });
  }
}

void Client::Restore(const std::string& folder, int64_t step, Done done) {
  Broadcast(ps::Restore{options_.session.space, folder, step}, StrCat("restoring ", folder),
            std::move(done));
}

void Client::Drop(const std::string& space, Done done) {
  Broadcast(DropNamespace{space}, StrCat("dropping ", space), std::move(done));
}

void Client::Stats(DoneText done) {
  auto texts = std::make_shared<std::vector<std::string>>(static_cast<size_t>(shards()));
  auto gather =
      std::make_shared<Gather>(static_cast<size_t>(shards()), [texts, done](const absl::Status& s) {
        if (!s.ok()) return done(s);
        std::string all;
        for (const std::string& text : *texts) all += (all.empty() ? "" : ",") + text;
        done(StrCat("[", all, "]"));
      });
  for (int slot = 0; slot < shards(); ++slot) {
    caller_.Call(slot, ps::Stats{}, 0, "asking for statistics",
                 [gather, texts, slot](const absl::StatusOr<Wire>& answer) {
                   const auto* report =
                       answer.ok() ? std::get_if<StatsReport>(&answer->body) : nullptr;
                   if (report != nullptr) (*texts)[static_cast<size_t>(slot)] = report->json;
                   gather->Add(answer.status());
                 });
  }
}

}  // namespace mixrec::ps
