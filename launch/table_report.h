// A table's results as files: table.md, table.html, table.tsv, table.jsonl.
#pragma once

#include <string>

#include "common/status.h"
#include "launch/table_results.h"

namespace mixrec::launch {

// "full ranking of 4344 items, leave-one-out, ...": what all figures have in common.
std::string ProtocolLine(const TableResult& table);
// ".0796 ± .0009", ".0796" of one value, "-" of none.
std::string Cell(const Spread& spread);
// Empty when the system has no such figures.
const Spread* Find(const SystemResult& system, const std::string& key, const std::string& metric);

std::string Markdown(const TableResult& table);
// A page that needs nothing but a browser: the table, and a figure of every seed's NDCG@10.
std::string Page(const TableResult& table);
// A line a system, split and masking: name, seeds, split, seen, mean and deviation of each metric.
std::string Tsv(const TableResult& table);
// An object a system, with every seed's values.
std::string JsonLines(const TableResult& table);

// All four, atomically, into a folder.
absl::Status WriteTable(const TableResult& table, const std::string& folder);

}  // namespace mixrec::launch
