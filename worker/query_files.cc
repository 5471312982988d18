// Who to recommend to: user ids and history files.
#include <string_view>

#include "common/file.h"
#include "worker/recommender.h"

namespace mixrec::worker {
namespace {

constexpr std::string_view kBlanks = " \t\r";

// Cuts the next word off the front of `text`; empty at its end.
std::string_view NextWord(std::string_view* text, std::string_view separators) {
  const size_t begin = text->find_first_not_of(separators);
  if (begin == std::string_view::npos) {
    *text = {};
    return {};
  }
  const size_t end = text->find_first_of(separators, begin);
  const std::string_view word = text->substr(begin, end - begin);
  *text = end == std::string_view::npos ? std::string_view() : text->substr(end);
  return word;
}

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return lines;
}

RecommendationQuery ParseHistory(const data::Dataset& dataset, std::string_view line) {
  RecommendationQuery query;
  // A name may hold blanks when a tab ends it.
  const bool has_tab = line.find('\t') != std::string_view::npos;
  query.name = std::string(NextWord(&line, has_tab ? "\t\r" : kBlanks));
  while (true) {
    const std::string_view id = NextWord(&line, kBlanks);
    if (id.empty()) return query;
    if (const auto item = dataset.FindItem(id)) {
      query.history.push_back(*item);
    } else {
      query.unknown_items.emplace_back(id);
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<RecommendationQuery>> QueriesOfUsers(
    const data::Dataset& dataset, const std::vector<std::string>& user_ids) {
  std::vector<RecommendationQuery> queries;
  for (const std::string& id : user_ids) {
    const auto user = dataset.FindUser(id);
    if (!user) {
      return DataError("user ", id, " is not in the data (or has too few interactions left); ",
                       "--history=FILE serves users never seen in training");
    }
    RecommendationQuery query;
    query.name = id;
    query.user = *user;
    const auto history = dataset.history(*user);
    query.history.assign(history.begin(), history.end());
    queries.push_back(std::move(query));
  }
  return queries;
}

absl::StatusOr<std::vector<std::string>> ReadUserIds(const std::string& path) {
  MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::vector<std::string> ids;
  for (std::string_view line : Lines(text)) {
    const std::string_view id = NextWord(&line, "\t\r");
    if (!id.empty()) ids.emplace_back(id);
  }
  return ids;
}

absl::StatusOr<std::vector<RecommendationQuery>> ReadHistories(const data::Dataset& dataset,
                                                               const std::string& path) {
  MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::vector<RecommendationQuery> queries;
  int line_number = 0;
  for (const std::string_view line : Lines(text)) {
    ++line_number;
    const size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos || line[begin] == '#') continue;
    RecommendationQuery query = ParseHistory(dataset, line);
    if (query.history.empty()) {
      return DataError(path, ":", line_number, ": ", query.name, " has no item of the catalogue (",
                       query.unknown_items.size(), " unknown ids); expected a name and item ids");
    }
    queries.push_back(std::move(query));
  }
  return queries;
}

}  // namespace mixrec::worker
