#include "ps/snapshot_format.h"

#include <xxhash.h>

#include <nlohmann/json.hpp>
#include <set>

#include "ps/moments.h"

namespace mixrec::ps {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kBlockBytes = 1 << 20;
constexpr int64_t kMostRows = int64_t{1} << 31, kMostWidth = 1 << 20;
constexpr size_t kMostParts = 64, kMostTables = 1024;

constexpr const char* kOptimizers[] = {"sgd", "adagrad", "adamw"};
constexpr const char* kPartitions[] = {"hashed", "ranges"};

Json SpecJson(const TableSpec& spec) {
  Json parts = Json::array();
  for (const PartSpec& part : spec.parts) {
    parts.push_back({{"name", part.name}, {"width", part.width}, {"stddev", part.stddev}});
  }
  const OptimizerOptions& optimizer = spec.optimizer;
  return {{"name", spec.name},
          {"rows", spec.rows},
          {"parts", parts},
          {"partition", kPartitions[static_cast<size_t>(spec.partition)]},
          {"dense", spec.dense},
          {"seed", spec.seed},
          {"optimizer",
           {{"kind", kOptimizers[static_cast<size_t>(optimizer.kind)]},
            {"beta1", optimizer.beta1},
            {"beta2", optimizer.beta2},
            {"epsilon", optimizer.epsilon},
            {"weight_decay", optimizer.weight_decay}}}};
}

// Index of a text in a list; -1 if it is none of them.
template <size_t N>
int IndexOf(const char* const (&names)[N], const std::string& name) {
  for (size_t i = 0; i < N; ++i) {
    if (name == names[i]) return static_cast<int>(i);
  }
  return -1;
}

// -1 for what is no integer, or too large for one: never a valid value.
int64_t Integer(const Json& json) {
  if (!json.is_number_integer()) return -1;
  if (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t{INT64_MAX}) return -1;
  return json.get<int64_t>();
}

// May throw Json::exception.
absl::StatusOr<TableSpec> ParseSpec(const Json& json, const std::string& where) {
  TableSpec spec;
  spec.name = json.at("name").get<std::string>();
  spec.rows = Integer(json.at("rows"));
  spec.dense = json.at("dense").get<bool>();
  if (!json.at("seed").is_number_integer()) return DataError(where, ": no seed");
  spec.seed = json.at("seed").get<uint64_t>();
  const int partition = IndexOf(kPartitions, json.at("partition").get<std::string>());
  const Json& optimizer = json.at("optimizer");
  const int kind = IndexOf(kOptimizers, optimizer.at("kind").get<std::string>());
  if (partition < 0 || kind < 0 || spec.rows < 0 || spec.rows >= kMostRows) {
    return DataError(where, ": table ", spec.name, " has ", spec.rows,
                     " rows, or a partition or optimiser that is not known");
  }
  spec.partition = static_cast<Partition>(partition);
  spec.optimizer.kind = static_cast<Optimizer>(kind);
  spec.optimizer.beta1 = optimizer.at("beta1").get<double>();
  spec.optimizer.beta2 = optimizer.at("beta2").get<double>();
  spec.optimizer.epsilon = optimizer.at("epsilon").get<double>();
  spec.optimizer.weight_decay = optimizer.at("weight_decay").get<double>();
  const Json& parts = json.at("parts");
  if (!parts.is_array() || parts.empty() || parts.size() > kMostParts) {
    return DataError(where, ": table ", spec.name, " has ", parts.size(), " parts");
  }
  for (const Json& item : parts) {
    const PartSpec part{item.at("name").get<std::string>(), Integer(item.at("width")),
                        item.at("stddev").get<double>()};
    if (part.width < 1 || part.width > kMostWidth) {
      return DataError(where, ": ", part.name, " is ", part.width, " wide");
    }
    spec.parts.push_back(part);
  }
  return spec;
}

absl::StatusOr<SnapshotHeader> FromJson(const Json& json, const std::string& where) {
  SnapshotHeader header;
  header.step = Integer(json.at("step"));
  header.buckets = {Integer(json.at("buckets").at(0)), Integer(json.at("buckets").at(1))};
  const BucketRange& buckets = header.buckets;
  if (header.step < 0) return DataError(where, ": no step");
  if (buckets.first < 0 || buckets.first > buckets.last || buckets.last > kBuckets) {
    return DataError(where, ": buckets ", buckets.first, " to ", buckets.last);
  }
  const Json& tables = json.at("tables");
  if (!tables.is_array() || tables.size() > kMostTables) {
    return DataError(where, ": ", tables.size(), " tables");
  }
  std::set<std::string> names;
  for (const Json& table : tables) {
    MIXREC_ASSIGN_OR_RETURN(TableSpec spec, ParseSpec(table, where));
    if (!names.insert(spec.name).second) return DataError(where, ": table ", spec.name, " twice");
    header.tables.push_back(std::move(spec));
  }
  return header;
}

}  // namespace

std::string HeaderText(const SnapshotHeader& header) {
  Json tables = Json::array();
  for (const TableSpec& spec : header.tables) tables.push_back(SpecJson(spec));
  std::string text = Json{
      {"step", header.step},
      {"buckets", {header.buckets.first, header.buckets.last}},
      {"tables", tables}}.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

absl::StatusOr<SnapshotHeader> ParseHeader(std::string_view text, const std::string& where) {
  try {
    return FromJson(Json::parse(text.begin(), text.end()), where);
  } catch (const Json::exception& error) {
    return DataError(where, ": a damaged header: ", error.what());
  }
}

SnapshotTable::SnapshotTable(const TableSpec& spec, BucketRange buckets)
    : layout(spec.partition, spec.rows, buckets) {
  const auto slots = static_cast<int64_t>(1 + MomentNames(spec.optimizer.kind).size());
  state_width = slots * spec.width();
  row_bytes = state_width * static_cast<int64_t>(sizeof(float)) + int64_t{sizeof(int32_t)};
  block_rows = std::max<int64_t>(1, kBlockBytes / row_bytes);
}

int64_t SnapshotTable::bytes() const {
  const int64_t rows = layout.local_rows();
  return rows * row_bytes + (rows + block_rows - 1) / block_rows * kBlockHead;
}

uint64_t SnapshotChecksum(std::string_view bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace mixrec::ps
