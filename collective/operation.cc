#include "collective/operation.h"

#include <algorithm>
#include <cstring>

#include "common/log.h"

namespace mixrec::collective {
namespace {

// Tensors up to this size are sent whole to everybody and summed by everybody: one round less.
constexpr size_t kSmallBytes = 4096;
// Parts of a tensor start on a cache line.
constexpr int64_t kAlignment = 16;

template <typename T>
void AddTo(T* sum, const T* values, int64_t count) {
#pragma omp simd
  for (int64_t k = 0; k < count; ++k) sum[k] += values[k];
}

void Add(Element element, void* sum, const void* values, int64_t count) {
  switch (element) {
    case Element::kFloat:
      return AddTo(static_cast<float*>(sum), static_cast<const float*>(values), count);
    case Element::kDouble:
      return AddTo(static_cast<double*>(sum), static_cast<const double*>(values), count);
    case Element::kInt:
      return AddTo(static_cast<int32_t*>(sum), static_cast<const int32_t*>(values), count);
    case Element::kLong:
      return AddTo(static_cast<int64_t*>(sum), static_cast<const int64_t*>(values), count);
  }
}

char* At(void* base, size_t offset) { return static_cast<char*>(base) + offset; }

// Every other rank's copy of the same values, to be summed in rank order with one's own.
class Contributions {
 public:
  Contributions(const Party& party, Element element, int64_t count)
      : party_(party),
        element_(element),
        count_(count),
        bytes_(static_cast<size_t>(count) * SizeOf(element)),
        buffers_(party.world_ranks.size()) {
    for (int rank = 0; rank < party.size(); ++rank) {
      if (rank != party.rank) buffers_[static_cast<size_t>(rank)].resize(bytes_);
    }
  }
  size_t bytes() const { return bytes_; }
  char* of(int rank) { return buffers_[static_cast<size_t>(rank)].data(); }

  // result = x_0 + x_1 + ..., `mine` standing at this rank's place; they may be the same.
  void SumInto(const void* mine, void* result) {
    const auto part = [&](int rank) {
      return rank == party_.rank ? static_cast<const char*>(mine) : of(rank);
    };
    std::vector<char> sum(part(0), part(0) + bytes_);
    for (int rank = 1; rank < party_.size(); ++rank) Add(element_, sum.data(), part(rank), count_);
    std::memcpy(result, sum.data(), bytes_);
  }

 private:
  const Party& party_;
  Element element_;
  int64_t count_;
  size_t bytes_;
  std::vector<std::vector<char>> buffers_;
};

// Everybody sends everything to everybody.
class SmallAllReduce : public Operation {
 public:
  SmallAllReduce(const Party& party, int tag, Element element, void* values, int64_t count)
      : Operation(party, tag), others_(party_, element, count), values_(values) {}

 protected:
  bool Begin(int round, Transport* transport) override {
    if (round == 0) {
      for (int peer = 0; peer < party_.size(); ++peer) {
        if (peer == party_.rank) continue;
        Receive(transport, peer, 0, others_.of(peer), others_.bytes());
        Send(transport, peer, 0, values_, others_.bytes());
      }
      return true;
    }
    others_.SumInto(values_, values_);
    return false;
  }

 private:
  Contributions others_;
  void* values_;
};

// Rank r sums the r-th part of the tensor and hands it out.
class LargeAllReduce : public Operation {
 public:
  LargeAllReduce(const Party& party, int tag, Element element, void* values, int64_t count)
      : Operation(party, tag),
        element_bytes_(SizeOf(element)),
        values_(values),
        count_(count),
        others_(party_, element, Last(party.rank) - First(party.rank)) {}

 protected:
  bool Begin(int round, Transport* transport) override {
    if (round == 2) return false;
    if (round == 1) others_.SumInto(Part(party_.rank), Part(party_.rank));
    for (int peer = 0; peer < party_.size(); ++peer) {
      if (peer == party_.rank) continue;
      if (round == 0) {
        Receive(transport, peer, 0, others_.of(peer), others_.bytes());
        Send(transport, peer, 0, Part(peer), Bytes(peer));
      } else {
        Receive(transport, peer, 1, Part(peer), Bytes(peer));
        Send(transport, peer, 1, Part(party_.rank), Bytes(party_.rank));
      }
    }
    return true;
  }

 private:
  int64_t First(int rank) const {
    const int64_t lines = (count_ + kAlignment - 1) / kAlignment;
    return std::min(count_, lines * rank / party_.size() * kAlignment);
  }
  int64_t Last(int rank) const { return First(rank + 1); }
  void* Part(int rank) { return At(values_, static_cast<size_t>(First(rank)) * element_bytes_); }
  size_t Bytes(int rank) const {
    return static_cast<size_t>(Last(rank) - First(rank)) * element_bytes_;
  }

  size_t element_bytes_;
  void* values_;
  int64_t count_;
  Contributions others_;
};

class AllGather : public Operation {
 public:
  AllGather(const Party& party, int tag, const void* mine, void* all, size_t bytes)
      : Operation(party, tag), mine_(mine), all_(all), bytes_(bytes) {}

 protected:
  bool Begin(int round, Transport* transport) override {
    if (round > 0) return false;
    std::memcpy(Place(party_.rank), mine_, bytes_);
    for (int peer = 0; peer < party_.size(); ++peer) {
      if (peer == party_.rank) continue;
      Receive(transport, peer, 0, Place(peer), bytes_);
      Send(transport, peer, 0, mine_, bytes_);
    }
    return true;
  }

 private:
  char* Place(int rank) { return At(all_, bytes_ * static_cast<size_t>(rank)); }

  const void* mine_;
  void* all_;
  size_t bytes_;
};

class ReduceScatter : public Operation {
 public:
  ReduceScatter(const Party& party, int tag, Element element, const void* all, void* mine,
                int64_t count)
      : Operation(party, tag), others_(party_, element, count), all_(all), mine_(mine) {}

 protected:
  bool Begin(int round, Transport* transport) override {
    if (round > 0) {
      others_.SumInto(Part(party_.rank), mine_);
      return false;
    }
    for (int peer = 0; peer < party_.size(); ++peer) {
      if (peer == party_.rank) continue;
      Receive(transport, peer, 0, others_.of(peer), others_.bytes());
      Send(transport, peer, 0, Part(peer), others_.bytes());
    }
    return true;
  }

 private:
  const char* Part(int rank) const {
    return static_cast<const char*>(all_) + others_.bytes() * static_cast<size_t>(rank);
  }

  Contributions others_;
  const void* all_;
  void* mine_;
};

class Broadcast : public Operation {
 public:
  Broadcast(const Party& party, int tag, int root, void* bytes, size_t size)
      : Operation(party, tag), root_(root), bytes_(bytes), size_(size) {}

 protected:
  bool Begin(int round, Transport* transport) override {
    if (round > 0) return false;
    if (party_.rank != root_) {
      Receive(transport, root_, 0, bytes_, size_);
      return true;
    }
    for (int peer = 0; peer < party_.size(); ++peer) {
      if (peer != root_) Send(transport, peer, 0, bytes_, size_);
    }
    return true;
  }

 private:
  int root_;
  void* bytes_;
  size_t size_;
};

}  // namespace

size_t SizeOf(Element element) {
  return element == Element::kFloat || element == Element::kInt ? 4 : 8;
}

absl::StatusOr<bool> Operation::Advance(Transport* transport, bool* moved) {
  while (true) {
    for (size_t k = 0; k < pending_.size();) {
      MIXREC_ASSIGN_OR_RETURN(const bool done, transport->Test(pending_[k].request));
      if (!done) {
        ++k;
        continue;
      }
      *moved = true;
      pending_[k] = pending_.back();
      pending_.pop_back();
    }
    if (!pending_.empty()) return false;
    *moved = true;
    if (!Begin(round_++, transport)) return true;
  }
}

std::vector<int> Operation::Missing() const {
  std::vector<int> missing;
  for (const bool receives : {true, false}) {
    for (const Pending& pending : pending_) {
      if (pending.receives == receives) missing.push_back(pending.peer);
    }
    if (!missing.empty()) break;
  }
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  return missing;
}

void Operation::Send(Transport* transport, int to, int round, const void* bytes, size_t size) {
  if (size == 0) return;
  const int world = party_.world_ranks[static_cast<size_t>(to)];
  pending_.push_back({transport->Send(world, tag_ + round, bytes, size), to, false});
}

void Operation::Receive(Transport* transport, int from, int round, void* bytes, size_t size) {
  if (size == 0) return;
  const int world = party_.world_ranks[static_cast<size_t>(from)];
  pending_.push_back({transport->Receive(world, tag_ + round, bytes, size), from, true});
}

std::unique_ptr<Operation> MakeAllReduce(const Party& party, int tag, Element element, void* values,
                                         int64_t count) {
  if (static_cast<size_t>(count) * SizeOf(element) <= kSmallBytes) {
    return std::make_unique<SmallAllReduce>(party, tag, element, values, count);
  }
  return std::make_unique<LargeAllReduce>(party, tag, element, values, count);
}

std::unique_ptr<Operation> MakeAllGather(const Party& party, int tag, const void* mine, void* all,
                                         size_t bytes) {
  return std::make_unique<AllGather>(party, tag, mine, all, bytes);
}

std::unique_ptr<Operation> MakeReduceScatter(const Party& party, int tag, Element element,
                                             const void* all, void* mine, int64_t count) {
  return std::make_unique<ReduceScatter>(party, tag, element, all, mine, count);
}

std::unique_ptr<Operation> MakeBroadcast(const Party& party, int tag, int root, void* bytes,
                                         size_t size) {
  return std::make_unique<Broadcast>(party, tag, root, bytes, size);
}

}  // namespace mixrec::collective
