#include "model/streams.h"

#include <utility>

#include "common/log.h"

namespace mixrec::model {
namespace {

template <typename Size>
std::vector<int64_t> StartsOf(const std::vector<Stream>& streams, Size size) {
  std::vector<int64_t> starts{0};
  for (const Stream& stream : streams) starts.push_back(starts.back() + size(stream));
  return starts;
}

// Lists of rows of every stream as rows of all.
template <typename Rows>
at::Tensor Together(const std::vector<Stream>& streams, const std::vector<int64_t>& starts,
                    Rows rows) {
  if (streams.size() == 1) return rows(streams[0]);
  std::vector<at::Tensor> parts;
  for (size_t i = 0; i < streams.size(); ++i) parts.push_back(rows(streams[i]) + starts[i]);
  return at::cat(parts);
}

}  // namespace

Streams::Streams(std::vector<Stream> streams, const tensor::Branches* branches)
    : streams_(std::move(streams)), branches_(branches) {
  CHECK_EQ(count(), branches->count());
  rows_ = StartsOf(streams_, [](const Stream& stream) { return stream.rows; });
  reads_ = StartsOf(streams_, [](const Stream& stream) { return stream.read_rows.numel(); });
  specials_ = StartsOf(streams_, [](const Stream& stream) { return stream.special_rows.numel(); });
  columns_ = StartsOf(
      streams_, [](const Stream& stream) { return stream.user_columns + stream.item_columns; });
  read_rows_ = Together(streams_, rows_, [](const Stream& stream) { return stream.read_rows; });
  special_rows_ =
      Together(streams_, rows_, [](const Stream& stream) { return stream.special_rows; });
}

at::Tensor Streams::PartOf(const Starts& starts, int64_t model, const at::Tensor& x) {
  const auto i = static_cast<size_t>(model);
  return x.narrow(0, starts[i], starts[i + 1] - starts[i]);
}

at::Tensor Streams::Experts(int64_t model, bool trimmed, const at::Tensor& x) const {
  const Starts& starts = trimmed ? reads_ : rows_;
  const auto i = static_cast<size_t>(model);
  const int64_t experts = x.size(0) / starts.back(), rows = starts[i + 1] - starts[i];
  return x.narrow(0, experts * starts[i], experts * rows).view({experts, rows, x.size(1)});
}

}  // namespace mixrec::model
