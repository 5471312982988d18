#include "data/dataset_tables.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <unordered_set>

#include "data/utf8.h"

namespace mixrec::data {
namespace {

constexpr std::string_view kUserColumn = "user_id";
constexpr std::string_view kItemColumn = "item_id";
constexpr std::string_view kTimeColumn = "timestamp";
constexpr std::string_view kTitle = "title";
constexpr size_t kMaxEntries = std::numeric_limits<int32_t>::max();

std::string_view Trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

// A text value: trimmed, invalid UTF-8 repaired and counted.
std::string TextValue(std::string_view field, DatasetStats* stats) {
  const std::string_view text = Trimmed(field);
  if (IsUtf8(text)) return std::string(text);
  ++stats->repaired_texts;
  return RepairUtf8(text);
}

// Ids key everything and are printed as JSON: they are refused rather than repaired.
absl::Status CheckId(const AtomicFile& file, size_t column, std::string_view id) {
  if (id.empty()) return DataError(file.Place(column), "empty id");
  if (!IsUtf8(id)) return DataError(file.Place(column), "the id is not UTF-8");
  return absl::OkStatus();
}

std::optional<long double> ParseTime(std::string_view text) {
  int64_t integer = 0;
  const char* const end = text.data() + text.size();
  if (const auto read = std::from_chars(text.data(), end, integer);
      read.ec == std::errc() && read.ptr == end) {
    return integer;
  }
  double value = 0;
  const auto read = std::from_chars(text.data(), end, value);
  if (read.ec != std::errc() || read.ptr != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

struct SentenceField {
  std::string key;
  size_t column = 0;
};

// The columns of the sentence. A field that the user named must exist; of the default ones the
// missing are left out, and said.
absl::StatusOr<std::vector<SentenceField>> SentenceFields(const AtomicFile& file,
                                                          const DatasetOptions& options,
                                                          DatasetStats* stats) {
  const std::vector<std::string> defaults = DatasetOptions().item_fields;
  std::vector<SentenceField> fields;
  for (const std::string& name : options.item_fields) {
    const bool stands_for_title = name == kTitle && !file.Column(name);
    const std::string& key = stands_for_title ? options.title_field : name;
    if (const auto column = file.Column(key)) {
      fields.push_back({key, *column});
    } else if (std::find(defaults.begin(), defaults.end(), name) != defaults.end()) {
      stats->missing_fields.push_back(name);
    } else {
      return file.RequiredColumn(name, "Name the columns of the sentence with --item_fields.")
          .status();
    }
  }
  return fields;
}

std::string Sentence(const std::vector<SentenceField>& fields,
                     const std::vector<std::string_view>& line, DatasetStats* stats) {
  std::string sentence;
  for (const SentenceField& field : fields) {
    const std::string value = TextValue(line[field.column], stats);
    if (value.empty()) continue;
    if (!sentence.empty()) sentence += ' ';
    sentence += field.key;
    sentence += ' ';
    sentence += value;
  }
  return sentence;
}

}  // namespace

absl::StatusOr<ItemTable> ReadItems(AtomicFile* file, const DatasetOptions& options,
                                    DatasetStats* stats) {
  MIXREC_ASSIGN_OR_RETURN(const size_t id_column,
                          file->RequiredColumn(kItemColumn, "Every line needs the item's id."));
  MIXREC_ASSIGN_OR_RETURN(
      const size_t title_column,
      file->RequiredColumn(options.title_field,
                           "Name the column that holds the items' titles with --title_field."));
  MIXREC_ASSIGN_OR_RETURN(const auto sentence_fields, SentenceFields(*file, options, stats));
  ItemTable items;
  std::vector<std::string_view> line;
  for (;;) {
    MIXREC_ASSIGN_OR_RETURN(const bool more, file->Next(&line));
    if (!more) break;
    const std::string_view id = line[id_column];
    MIXREC_RETURN_IF_ERROR(CheckId(*file, id_column, id));
    if (!items.index.emplace(id, static_cast<int32_t>(items.ids.size())).second) {
      ++stats->duplicate_items;
      continue;
    }
    if (items.ids.size() == kMaxEntries) return DataError(file->path(), ": more than 2^31 items");
    items.ids.push_back(id);
    const int64_t repaired = stats->repaired_texts;
    items.titles.push_back(TextValue(line[title_column], stats));
    if (std::any_of(sentence_fields.begin(), sentence_fields.end(),
                    [&](const SentenceField& field) { return field.column == title_column; })) {
      stats->repaired_texts = repaired;  // the sentence counts the title's repair
    }
    std::string sentence = Sentence(sentence_fields, line, stats);
    if (sentence.empty()) sentence = items.titles.back();
    items.sentences.push_back(std::move(sentence));
    stats->items_without_title += items.titles.back().empty();
  }
  stats->items_before = static_cast<int64_t>(items.ids.size());
  return items;
}

absl::StatusOr<InteractionTable> ReadInteractions(AtomicFile* file, const ItemTable& items,
                                                  DatasetStats* stats) {
  MIXREC_ASSIGN_OR_RETURN(const size_t user_column,
                          file->RequiredColumn(kUserColumn, "Every line needs the user's id."));
  MIXREC_ASSIGN_OR_RETURN(const size_t item_column,
                          file->RequiredColumn(kItemColumn, "Every line needs the item's id."));
  const std::optional<size_t> time_column = file->Column(kTimeColumn);
  stats->has_timestamps = time_column.has_value();

  InteractionTable table;
  constexpr size_t kTypicalLine = 16;  // bytes; only a reservation
  table.rows.reserve(file->remaining_bytes() / kTypicalLine);
  ViewIndex users;
  std::unordered_set<std::string_view> unknown;
  std::vector<std::string_view> line;
  for (;;) {
    MIXREC_ASSIGN_OR_RETURN(const bool more, file->Next(&line));
    if (!more) break;
    ++stats->interactions_before;
    const auto [user, is_new] =
        users.try_emplace(line[user_column], static_cast<int32_t>(table.user_ids.size()));
    if (is_new) {
      MIXREC_RETURN_IF_ERROR(CheckId(*file, user_column, user->first));
      if (users.size() > kMaxEntries) return DataError(file->path(), ": more than 2^31 users");
      table.user_ids.push_back(user->first);
    }
    Interaction row;
    row.user = user->second;
    if (time_column) {
      const auto time = ParseTime(line[*time_column]);
      if (!time) {
        return DataError(file->Place(*time_column), "expected a number, found `",
                         RepairUtf8(line[*time_column]), "`");
      }
      row.time = *time;
    }
    const auto item = items.index.find(line[item_column]);
    if (item == items.index.end()) {
      MIXREC_RETURN_IF_ERROR(CheckId(*file, item_column, line[item_column]));
      unknown.insert(line[item_column]);
      ++stats->unknown_item_interactions;
      continue;
    }
    row.item = item->second;
    table.rows.push_back(row);
  }
  stats->users_before = static_cast<int64_t>(table.user_ids.size());
  stats->unknown_items = static_cast<int64_t>(unknown.size());
  if (stats->interactions_before == 0) return DataError(file->path(), ": holds no interaction");
  return table;
}

}  // namespace mixrec::data
