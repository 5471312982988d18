#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "ps/codec_parts.h"

namespace mixrec::ps {
namespace {

using net::Buffer;

constexpr int64_t kMostRows = INT32_MAX;  // ids are int32
constexpr int64_t kMostWidth = 1 << 20;
constexpr int64_t kMostPieces = 1 << 16;
constexpr int64_t kMostRanks = 1 << 16;
constexpr int64_t kLastStep = int64_t{1} << 60;
constexpr size_t kMostNameBytes = 4096;

template <typename... Parts>
absl::Status Malformed(const Parts&... parts) {
  return DataError("malformed message: ", parts...);
}

absl::Status CheckRange(std::string_view what, int64_t value, int64_t least, int64_t most) {
  if (least <= value && value <= most) return absl::OkStatus();
  return Malformed(what, " ", value, " is not in [", least, ", ", most, "]");
}

absl::Status CheckFinite(std::string_view what, double value) {
  if (std::isfinite(value)) return absl::OkStatus();
  return Malformed(what, " is not a finite number");
}

// Names go into log lines and file names.
absl::Status CheckName(std::string_view what, const std::string& name) {
  const bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) { return c >= 32; });
  if (plain && name.size() <= kMostNameBytes) return absl::OkStatus();
  return Malformed(what, " of ", name.size(), " bytes is no name");
}

absl::Status CheckKey(const TableKey& key) {
  MIXREC_RETURN_IF_ERROR(CheckName("namespace", key.space));
  return CheckName("table", key.table);
}

absl::Status CheckStep(int64_t step) { return CheckRange("step", step, 0, kLastStep); }

absl::Status CheckPiece(int32_t part, int32_t parts) {
  MIXREC_RETURN_IF_ERROR(CheckRange("number of pieces", parts, 1, kMostPieces));
  return CheckRange("piece", part, 0, parts - 1);
}

// A frame of exactly `count` int32 or fp32 numbers.
absl::Status CheckCount(std::string_view what, const Buffer& frame, int64_t count) {
  if (static_cast<int64_t>(frame.size()) == 4 * count) return absl::OkStatus();
  return Malformed(what, " of ", frame.size(), " bytes instead of ", count, " numbers");
}

// How many rows of `width` numbers are in a frame.
absl::StatusOr<int64_t> CountRows(std::string_view what, const Buffer& frame, int64_t width) {
  MIXREC_RETURN_IF_ERROR(CheckRange("width", width, 1, kMostWidth));
  const auto bytes = static_cast<int64_t>(frame.size());
  if (bytes % (4 * width) == 0) return bytes / (4 * width);
  return Malformed(what, " of ", bytes, " bytes are not rows of ", width, " numbers");
}

// `rows` equal rows of any width from 1; none when there are no rows.
absl::StatusOr<int64_t> RowWidth(std::string_view what, const Buffer& frame, int64_t rows) {
  const auto bytes = static_cast<int64_t>(frame.size());
  if (rows == 0 && bytes == 0) return 0;
  if (rows > 0 && bytes > 0 && bytes % (4 * rows) == 0) return bytes / (4 * rows);
  return Malformed(what, " of ", bytes, " bytes are not ", rows, " rows");
}

// Lists of ids, one for each state: offsets [N + 1] from 0, ascending, to the end of the ids.
absl::Status CheckLists(const Buffer& offsets, const Buffer& ids, int64_t states) {
  MIXREC_ASSIGN_OR_RETURN(const int64_t count, CountRows("excluded ids", ids, 1));
  if (offsets.empty()) return CheckCount("excluded ids", ids, 0);
  MIXREC_RETURN_IF_ERROR(CheckCount("offsets", offsets, states + 1));
  const auto* begin = reinterpret_cast<const int32_t*>(offsets.data());
  const auto* end = begin + states + 1;
  if (*begin == 0 && end[-1] == count && std::is_sorted(begin, end)) return absl::OkStatus();
  return Malformed("offsets do not ascend from 0 to ", count);
}

absl::Status Check(const OpenSession& body) {
  MIXREC_RETURN_IF_ERROR(CheckName("namespace", body.space));
  MIXREC_RETURN_IF_ERROR(CheckRange("world", body.world, 1, kMostRanks));
  MIXREC_RETURN_IF_ERROR(CheckRange("rank", body.rank, 0, body.world - 1));
  MIXREC_RETURN_IF_ERROR(
      CheckRange("consistency", static_cast<int64_t>(body.consistency), 0, int64_t{2}));
  MIXREC_RETURN_IF_ERROR(CheckRange("staleness", body.staleness, 0, INT32_MAX));
  return CheckRange("lease", body.lease_seconds, 0, INT32_MAX);
}

absl::Status CheckOptimizer(const OptimizerOptions& options) {
  MIXREC_RETURN_IF_ERROR(CheckRange("optimizer", static_cast<int64_t>(options.kind), 0, 2));
  for (const double value : {options.beta1, options.beta2, options.epsilon, options.weight_decay}) {
    MIXREC_RETURN_IF_ERROR(CheckFinite("a setting of the optimizer", value));
  }
  return absl::OkStatus();
}

absl::Status Check(const CreateTable& body) {
  MIXREC_RETURN_IF_ERROR(CheckName("namespace", body.space));
  MIXREC_RETURN_IF_ERROR(CheckName("table", body.spec.name));
  MIXREC_RETURN_IF_ERROR(CheckRange("rows", body.spec.rows, 0, kMostRows));
  MIXREC_RETURN_IF_ERROR(CheckRange("partition", static_cast<int64_t>(body.spec.partition), 0, 1));
  int64_t width = 0;
  for (const PartSpec& part : body.spec.parts) {
    MIXREC_RETURN_IF_ERROR(CheckName("part", part.name));
    MIXREC_RETURN_IF_ERROR(CheckRange("width", part.width, 1, kMostWidth));
    MIXREC_RETURN_IF_ERROR(CheckFinite("standard deviation", part.stddev));
    width += part.width;
  }
  MIXREC_RETURN_IF_ERROR(CheckRange("width", width, 1, kMostWidth));
  return CheckOptimizer(body.spec.optimizer);
}

absl::Status Check(const Pull& body) {
  MIXREC_RETURN_IF_ERROR(CheckKey(body.key));
  MIXREC_RETURN_IF_ERROR(CheckStep(body.step));
  MIXREC_RETURN_IF_ERROR(CheckStep(body.at_least));
  return CountRows("ids", body.ids, 1).status();
}

absl::Status Check(const Push& body) {
  MIXREC_RETURN_IF_ERROR(CheckKey(body.key));
  MIXREC_RETURN_IF_ERROR(CheckStep(body.step));
  MIXREC_RETURN_IF_ERROR(CheckPiece(body.part, body.parts));
  MIXREC_RETURN_IF_ERROR(CheckFinite("learning rate", body.learning_rate));
  MIXREC_ASSIGN_OR_RETURN(const int64_t rows, CountRows("ids", body.ids, 1));
  return RowWidth("gradients", body.gradients, rows).status();
}

template <typename Half>
absl::Status CheckSoftmax(const Half& body) {
  MIXREC_RETURN_IF_ERROR(CheckKey(body.key));
  MIXREC_RETURN_IF_ERROR(CheckStep(body.step));
  MIXREC_RETURN_IF_ERROR(CheckPiece(body.part, body.parts));
  MIXREC_RETURN_IF_ERROR(CheckRange("number of samples", body.sampled, 0, kMostRows));
  return CheckRange("width", body.width, 1, kMostWidth);
}

absl::Status Check(const SoftmaxForward& body) {
  MIXREC_RETURN_IF_ERROR(CheckSoftmax(body));
  MIXREC_ASSIGN_OR_RETURN(const int64_t rows, CountRows("states", body.states, body.width));
  return CheckCount("labels", body.labels, rows);
}

absl::Status Check(const SoftmaxBackward& body) {
  MIXREC_RETURN_IF_ERROR(CheckSoftmax(body));
  MIXREC_RETURN_IF_ERROR(CheckFinite("learning rate", body.learning_rate));
  MIXREC_ASSIGN_OR_RETURN(const int64_t rows, CountRows("log-sums", body.log_sum_exp, 1));
  MIXREC_RETURN_IF_ERROR(CheckCount("weights", body.weights, rows));
  if (body.states.empty() && body.labels.empty()) return absl::OkStatus();
  MIXREC_RETURN_IF_ERROR(CheckCount("states", body.states, rows * body.width));
  return CheckCount("labels", body.labels, rows);
}

absl::Status Check(const TopK& body) {
  MIXREC_RETURN_IF_ERROR(CheckKey(body.key));
  MIXREC_RETURN_IF_ERROR(CheckStep(body.step));
  MIXREC_RETURN_IF_ERROR(CheckRange("k", body.k, 1, kMostRows));
  MIXREC_ASSIGN_OR_RETURN(const int64_t rows, CountRows("states", body.states, body.width));
  return CheckLists(body.exclude_offsets, body.exclude_ids, rows);
}

absl::Status Check(const Rank& body) {
  MIXREC_RETURN_IF_ERROR(CheckKey(body.key));
  MIXREC_RETURN_IF_ERROR(CheckStep(body.step));
  MIXREC_ASSIGN_OR_RETURN(const int64_t rows, CountRows("states", body.states, body.width));
  MIXREC_RETURN_IF_ERROR(CheckCount("targets", body.targets, rows));
  if (!body.target_scores.empty()) {
    MIXREC_RETURN_IF_ERROR(CheckCount("target scores", body.target_scores, rows));
  }
  return CheckLists(body.exclude_offsets, body.exclude_ids, rows);
}

template <typename B>
absl::Status CheckSnapshot(const B& body) {
  MIXREC_RETURN_IF_ERROR(CheckName("namespace", body.space));
  MIXREC_RETURN_IF_ERROR(CheckName("folder", body.folder));
  return CheckStep(body.step);
}
absl::Status Check(const Save& body) { return CheckSnapshot(body); }
absl::Status Check(const Restore& body) { return CheckSnapshot(body); }
absl::Status Check(const RenewLease& body) { return CheckName("namespace", body.space); }
absl::Status Check(const DropNamespace& body) { return CheckName("namespace", body.space); }

absl::Status Check(const Replicate& body) {
  return body.original.empty() ? Malformed("Replicate of nothing") : absl::OkStatus();
}

absl::Status Check(const StateImage& body) { return CheckPiece(body.part, body.parts); }
absl::Status Check(const StateImageReceived& body) {
  return CheckRange("piece", body.part, 0, kMostPieces - 1);
}

absl::Status Check(const Heartbeat& body) {
  MIXREC_RETURN_IF_ERROR(CheckRange("slot", body.slot, -1, kBuckets - 1));
  return CheckName("endpoint", body.endpoint);
}

absl::Status Check(const Rows& body) { return CountRows("rows", body.rows, 1).status(); }

absl::Status Check(const SoftmaxPartial& body) {
  MIXREC_ASSIGN_OR_RETURN(const int64_t states, CountRows("maximum", body.maximum, 1));
  MIXREC_RETURN_IF_ERROR(CheckCount("sum", body.sum, states));
  MIXREC_RETURN_IF_ERROR(CheckCount("label logits", body.label_logits, states));
  MIXREC_ASSIGN_OR_RETURN(const int64_t width, RowWidth("numerators", body.numerators, states));
  if (states == 0) return CheckCount("label rows", body.label_rows, 0);
  MIXREC_ASSIGN_OR_RETURN(const int64_t owned, CountRows("label rows", body.label_rows, width));
  return CheckRange("label rows", owned, 0, states);
}

absl::Status Check(const TopKLists& body) {
  MIXREC_ASSIGN_OR_RETURN(const int64_t count, CountRows("ids", body.ids, 1));
  return CheckCount("scores", body.scores, count);
}

absl::Status Check(const RankPartial& body) {
  MIXREC_RETURN_IF_ERROR(CountRows("target scores", body.target_scores, 1).status());
  return CountRows("counts", body.counts, 1).status();
}

absl::Status Check(const Saved& body) {
  MIXREC_RETURN_IF_ERROR(CheckName("file", body.file));
  MIXREC_RETURN_IF_ERROR(CheckName("hash", body.hash));
  return CheckRange("size", body.bytes, 0, INT64_MAX);
}

absl::Status Check(const Map& body) {
  for (const ShardSlot& slot : body.map.slots) {
    MIXREC_RETURN_IF_ERROR(CheckRange("last bucket", slot.buckets.last, 0, kBuckets));
    MIXREC_RETURN_IF_ERROR(CheckRange("first bucket", slot.buckets.first, 0, slot.buckets.last));
    for (const Replica* replica : {&slot.primary, &slot.backup, &slot.learner}) {
      MIXREC_RETURN_IF_ERROR(CheckName("endpoint", replica->endpoint));
    }
  }
  return absl::OkStatus();
}

// What any value is right for.
absl::Status Check(const Stats&) { return absl::OkStatus(); }
absl::Status Check(const GetMap&) { return absl::OkStatus(); }
absl::Status Check(const Replicated&) { return absl::OkStatus(); }
absl::Status Check(const Done&) { return absl::OkStatus(); }
absl::Status Check(const StatsReport&) { return absl::OkStatus(); }

}  // namespace

absl::Status CheckBody(const Body& body) {
  return std::visit([](const auto& it) { return Check(it); }, body);
}

}  // namespace mixrec::ps
