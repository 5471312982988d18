// A table of a namespace as a shard serves it: rows, the gate of its steps, and the verbs on it.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "net/buffer_pool.h"
#include "ps/mutation.h"
#include "ps/protocol.h"
#include "ps/step_gate.h"
#include "ps/table.h"
#include "ps/vocabulary.h"

namespace mixrec::ps {

// An answer without its envelope.
struct Answer {
  Code code = Code::kOk;
  std::string text;
  Body body = Done{};
};

// An answer of failure: the pieces of a line for a person.
template <typename... Parts>
Answer Refuse(Code code, const Parts&... parts) {
  return {code, StrCat(parts...), Done{}};
}

// One thread.
class ServedTable {
 public:
  ServedTable(const TableSpec& spec, const GateOptions& gate, BucketRange buckets,
              at::Device device, Mutation mutation);

  // A rank's piece of a step. Steps that are complete are applied, in order.
  Answer Add(int rank, const Push& push);
  Answer Add(int rank, const SoftmaxBackward& backward);

  // kParked when the rows for the request's step are not there yet.
  Answer Read(const Pull& pull);
  Answer Read(const SoftmaxForward& forward);
  Answer Read(const TopK& request);
  Answer Read(const Rank& request);

  // The next step of every rank is `step`, whatever waited.
  void Reset(int64_t step);

  const TableSpec& spec() const { return table_.spec(); }
  Table& table() { return table_; }
  const Table& table() const { return table_; }
  StepGate& gate() { return gate_; }
  const StepGate& gate() const { return gate_; }

 private:
  bool Admits(int64_t step, int64_t at_least) const;
  Answer Parked() const;
  Answer AddPiece(Piece piece);
  void ApplySparse(const std::vector<Piece>& pieces);
  void ApplyMerged(const std::vector<Piece>& pieces);
  // The exponentials of first halves, as far as they fit, by the states' frame: the second half has
  // the same one. A backup has none and computes them again, with the same result bit for bit as
  // long as the rows have not moved.
  struct Kept {
    net::Buffer states;
    int64_t step = 0;
    SoftmaxBatch batch;
  };

  Answer CheckStates(const net::Buffer& states, int64_t width, const net::Buffer& rows) const;
  void ApplySoftmax(const std::vector<Piece>& pieces);
  SoftmaxBatch TakeBatch(const SoftmaxBackward& backward);
  void Keep(const SoftmaxForward& forward, SoftmaxBatch batch);

  Mutation mutation_;
  Table table_;
  StepGate gate_;
  net::BufferPool answers_;                 // memory of rows on their way
  std::unique_ptr<Vocabulary> vocabulary_;  // of a softmax table
  std::deque<Kept> kept_;
  int64_t kept_bytes_ = 0;
};

}  // namespace mixrec::ps
