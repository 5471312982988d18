#include "launch/table_report.h"

#include "absl/strings/str_format.h"
#include "common/file.h"

namespace mixrec::launch {
namespace {

constexpr const char* kMetrics[] = {"NDCG@10",  "Recall@10", "MRR",      "NDCG@5",
                                    "Recall@5", "NDCG@20",   "Recall@20"};

std::string Short(double value) {
  const std::string text = absl::StrFormat("%.4f", value);
  return text[0] == '0' ? text.substr(1) : text;
}

std::string MarkdownRow(const SystemResult& system) {
  std::string row = StrCat("| ", system.name, " | ", system.title, " | ", system.seeds.size());
  for (const char* key : {"test kept", "test masked"}) {
    for (const char* metric : {"NDCG@10", "Recall@10", "MRR"}) {
      const Spread* spread = Find(system, key, metric);
      row += StrCat(" | ", spread == nullptr ? "-" : Cell(*spread));
    }
  }
  const Spread* validation = Find(system, "validation kept", "NDCG@10");
  row += StrCat(" | ", validation == nullptr ? "-" : Cell(*validation));
  const bool any = !system.best_epoch.values.empty();
  return StrCat(row, " | ", any ? absl::StrFormat("%.1f", system.best_epoch.mean) : "-", " |\n");
}

}  // namespace

const Spread* Find(const SystemResult& system, const std::string& key, const std::string& metric) {
  const auto metrics = system.metrics.find(key);
  if (metrics == system.metrics.end()) return nullptr;
  const auto spread = metrics->second.find(metric);
  return spread == metrics->second.end() ? nullptr : &spread->second;
}

std::string Cell(const Spread& spread) {
  if (spread.values.empty()) return "-";
  if (spread.values.size() == 1) return Short(spread.mean);
  return StrCat(Short(spread.mean), " \xC2\xB1 ", Short(spread.deviation));
}

std::string ProtocolLine(const TableResult& table) {
  if (table.protocol.is_null()) return "no row is finished";
  const auto text = [&](const char* name) {
    const auto value = table.protocol.find(name);
    if (value == table.protocol.end()) return std::string("?");
    return value->is_string() ? value->get<std::string>() : value->dump();
  };
  return StrCat(text("split"), "; ", text("ranking"), " ranking of ", text("candidates"),
                " items for ", table.users, " users; seen items kept, or masked; ties by ",
                text("ties"), "; the last ", text("max_items"), " items read; checkpoint ",
                text("checkpoint"), " (by validation MRR, seen items kept); items with at least ",
                text("min_item_interactions"), " interactions; ", table.epochs,
                " epochs unless the system says otherwise");
}

std::string Markdown(const TableResult& table) {
  std::string text = StrCat("# ", table.data, ", backbone ", table.backbone, "\n\n",
                            "Protocol: ", ProtocolLine(table), ".\n\n",
                            "Mean \xC2\xB1 sample standard deviation over the seeds; test, unless "
                            "a column says validation.\n\n",
                            "| system | what | seeds | NDCG@10 kept | Recall@10 kept | MRR kept "
                            "| NDCG@10 masked | Recall@10 masked | MRR masked | validation NDCG@10 "
                            "kept | best epoch |\n|---|---|---|---|---|---|---|---|---|---|---|\n");
  for (const SystemResult& system : table.systems) text += MarkdownRow(system);
  std::string unfinished;
  for (const SystemResult& system : table.systems) {
    for (const auto& [seed, reason] : system.unfinished) {
      unfinished += StrCat("- ", system.name, ", seed ", seed, ": ", reason, "\n");
    }
  }
  if (!unfinished.empty()) text += StrCat("\n## Rows without a result\n\n", unfinished);
  return text;
}

std::string Tsv(const TableResult& table) {
  std::string text = "system\tseeds\tsplit\tseen";
  for (const char* metric : kMetrics) text += StrCat("\t", metric, "\t", metric, "_sd");
  text += "\n";
  for (const SystemResult& system : table.systems) {
    for (const auto& [key, metrics] : system.metrics) {
      const size_t blank = key.find(' ');
      text += StrCat(system.name, "\t", system.seeds.size(), "\t", key.substr(0, blank), "\t",
                     key.substr(blank + 1));
      for (const char* metric : kMetrics) {
        const Spread* spread = Find(system, key, metric);
        text += spread == nullptr
                    ? "\t\t"
                    : absl::StrFormat("\t%.6f\t%.6f", spread->mean, spread->deviation);
      }
      text += "\n";
    }
  }
  return text;
}

std::string JsonLines(const TableResult& table) {
  using Json = nlohmann::ordered_json;
  std::string text;
  for (const SystemResult& system : table.systems) {
    Json metrics = Json::object();
    for (const auto& [key, spreads] : system.metrics) {
      const size_t blank = key.find(' ');
      Json& place = metrics[key.substr(0, blank)][key.substr(blank + 1)];
      for (const auto& [metric, spread] : spreads) {
        place[metric] = {
            {"mean", spread.mean}, {"sd", spread.deviation}, {"values", spread.values}};
      }
    }
    Json unfinished = Json::array();
    for (const auto& [seed, reason] : system.unfinished) {
      unfinished.push_back({{"seed", seed}, {"reason", reason}});
    }
    const Json line{{"system", system.name},     {"title", system.title},
                    {"seeds", system.seeds},     {"best_epoch", system.best_epoch.values},
                    {"metrics", metrics},        {"unfinished", unfinished},
                    {"protocol", table.protocol}};
    text += StrCat(line.dump(), "\n");
  }
  return text;
}

absl::Status WriteTable(const TableResult& table, const std::string& folder) {
  MIXREC_RETURN_IF_ERROR(WriteFileAtomic(folder + "/table.md", Markdown(table)));
  MIXREC_RETURN_IF_ERROR(WriteFileAtomic(folder + "/table.html", Page(table)));
  MIXREC_RETURN_IF_ERROR(WriteFileAtomic(folder + "/table.tsv", Tsv(table)));
  return WriteFileAtomic(folder + "/table.jsonl", JsonLines(table));
}

}  // namespace mixrec::launch
