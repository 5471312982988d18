// table.html: the table and a figure, self-contained, readable in light and dark.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "launch/table_report.h"

namespace mixrec::launch {
namespace {

using absl::StrFormat;

constexpr char kStyle[] = R"css(
:root { color-scheme: light dark; --ink: #1f2933; --quiet: #66727f; --line: #d9dee3; --page: #ffffff;
  --kept: #3f7fbf; --masked: #e08a2e; --bad: #c8453b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --quiet: #9aa5b1; --line: #39424c; --page: #171b20; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.note { color: var(--quiet); margin: .2rem 0 .6rem; max-width: 52rem; }
svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--line); } svg text { fill: var(--quiet); } svg .name { fill: var(--ink); }
svg .kept { fill: var(--kept); } svg .masked { fill: var(--masked); }
svg line.kept { stroke: var(--kept); } svg line.masked { stroke: var(--masked); }
svg line.kept, svg line.masked { stroke-width: 2; } svg .seed { opacity: .45; }
.key { display: inline-block; width: .75em; height: .75em; border-radius: 50%; margin: 0 .3em 0 1em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--quiet); font-weight: 600; } td.number { white-space: nowrap; }
td.best { font-weight: 700; } li b { color: var(--bad); }
)css";

constexpr double kLeft = 190, kRight = 30, kWidth = 860, kRowHeight = 26, kTop = 26;

std::string Escape(const std::string& text) {
  return absl::StrReplaceAll(text,
                             {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

struct Range {
  double low = 0, high = 0;
};

// Of NDCG@10 over all systems and seeds, with some air.
Range RangeOf(const TableResult& table) {
  Range range{1, 0};
  for (const SystemResult& system : table.systems) {
    for (const char* key : {"test kept", "test masked"}) {
      const Spread* spread = Find(system, key, "NDCG@10");
      if (spread == nullptr) continue;
      for (const double value : spread->values) {
        range.low = std::min(range.low, value);
        range.high = std::max(range.high, value);
      }
    }
  }
  const double air = std::max(1e-4, 0.06 * (range.high - range.low));
  return {range.low - air, range.high + air};
}

class Figure {
 public:
  explicit Figure(const TableResult& table) : table_(table), range_(RangeOf(table)) {}

  std::string Draw() const {
    const double height = kTop + kRowHeight * static_cast<double>(table_.systems.size()) + 8;
    std::string svg = StrFormat(
        "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"test NDCG@10 of each "
        "system\">\n",
        kWidth, height);
    for (int tick = 0; tick <= 4; ++tick) {
      const double value = range_.low + (range_.high - range_.low) * tick / 4;
      svg += StrFormat(
          "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.0f\" y2=\"%.0f\"/>"
          "<text x=\"%.1f\" y=\"14\" text-anchor=\"middle\">%.4f</text>\n",
          X(value), X(value), kTop - 6, height, X(value), value);
    }
    for (size_t row = 0; row < table_.systems.size(); ++row) {
      const SystemResult& system = table_.systems[row];
      const double y = kTop + kRowHeight * (static_cast<double>(row) + .5);
      svg += StrFormat("<text class=\"name\" x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                       kLeft - 12, y + 4, Escape(system.name));
      svg += Series(system, "test kept", "kept", y - 4) +
             Series(system, "test masked", "masked", y + 4);
    }
    return svg + "</svg>\n";
  }

 private:
  double X(double value) const {
    return kLeft + (value - range_.low) / (range_.high - range_.low) * (kWidth - kLeft - kRight);
  }

  // The seeds as pale dots, their mean as a dot, one deviation to each side as a line.
  std::string Series(const SystemResult& system, const char* key, const char* color,
                     double y) const {
    const Spread* spread = Find(system, key, "NDCG@10");
    if (spread == nullptr) return "";
    std::string svg;
    for (const double value : spread->values) {
      svg += StrFormat("<circle class=\"%s seed\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>", color,
                       X(value), y);
    }
    if (spread->deviation > 0) {
      svg +=
          StrFormat("<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", color,
                    X(spread->mean - spread->deviation), X(spread->mean + spread->deviation), y, y);
    }
    return svg + StrFormat(
                     "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>%s</title>"
                     "</circle>\n",
                     color, X(spread->mean), y, Cell(*spread));
  }

  const TableResult& table_;
  const Range range_;
};

// The best mean of a column, so that it can be set in bold.
double Best(const TableResult& table, const char* key, const char* metric) {
  double best = 0;
  for (const SystemResult& system : table.systems) {
    const Spread* spread = Find(system, key, metric);
    if (spread != nullptr) best = std::max(best, spread->mean);
  }
  return best;
}

std::string Rows(const TableResult& table) {
  std::string html;
  for (const SystemResult& system : table.systems) {
    html += StrFormat("<tr><td>%s</td><td>%s</td><td class=\"number\">%d</td>", Escape(system.name),
                      Escape(system.title), system.seeds.size());
    for (const char* key : {"test kept", "test masked", "validation kept"}) {
      for (const char* metric : {"NDCG@10", "Recall@10", "MRR"}) {
        const Spread* spread = Find(system, key, metric);
        const bool best = spread != nullptr && spread->mean == Best(table, key, metric);
        html += StrFormat("<td class=\"number%s\">%s</td>", best ? " best" : "",
                          spread == nullptr ? "-" : Cell(*spread));
      }
    }
    html += "</tr>\n";
  }
  return html;
}

std::string Unfinished(const TableResult& table) {
  std::string items;
  for (const SystemResult& system : table.systems) {
    for (const auto& [seed, reason] : system.unfinished) {
      items +=
          StrFormat("<li><b>%s, seed %d</b>: %s</li>\n", Escape(system.name), seed, Escape(reason));
    }
  }
  return items.empty() ? "" : "<h2>Rows without a result</h2>\n<ul>\n" + items + "</ul>\n";
}

}  // namespace

std::string Page(const TableResult& table) {
  const std::string name = Escape(table.data);
  const auto key = [](const char* color, const char* text) {
    return StrFormat("<span class=\"key\" style=\"background:var(--%s)\"></span>%s", color, text);
  };
  std::string html = StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>", name,
      ": systems compared</title>\n<meta name=\"viewport\" content=\"width=device-width\">\n",
      "<style>", kStyle, "</style></head><body>\n<h1>", name, ", backbone ", Escape(table.backbone),
      "</h1>\n<p class=\"note\">Protocol: ", Escape(ProtocolLine(table)), ".</p>\n");
  if (!table.protocol.is_null()) {
    html += StrCat("<h2>Test NDCG@10</h2>\n<p class=\"note\">", key("kept", "seen items kept"),
                   key("masked", "seen items masked"),
                   "; pale: single seeds; line: one sample standard deviation</p>\n",
                   Figure(table).Draw());
  }
  html += StrCat(
      "<h2>All figures</h2>\n<p class=\"note\">Mean \xC2\xB1 sample standard deviation over the "
      "seeds; bold: the best mean of the column.</p>\n<div class=\"scroll\"><table>\n<tr>"
      "<th rowspan=\"2\">system</th><th rowspan=\"2\">what</th><th rowspan=\"2\">seeds</th>"
      "<th colspan=\"3\">test, seen kept</th><th colspan=\"3\">test, seen masked</th>"
      "<th colspan=\"3\">validation, seen kept</th></tr>\n<tr>");
  for (int group = 0; group < 3; ++group) {
    html += "<th>NDCG@10</th><th>Recall@10</th><th>MRR</th>";
  }
  return StrCat(html, "</tr>\n", Rows(table), "</table></div>\n", Unfinished(table),
                "</body></html>\n");
}

}  // namespace mixrec::launch
