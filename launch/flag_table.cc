#include "launch/flag_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/status.h"

namespace mixrec::launch {
namespace {

bool ParseInteger(std::string_view text, double* value) {
  int64_t integer = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), integer);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return false;
  *value = static_cast<double>(integer);
  return true;
}

bool ParseReal(std::string_view text, double* value) {
  const std::string copy(text);
  char* end = nullptr;
  *value = std::strtod(copy.c_str(), &end);
  return !copy.empty() && end == copy.c_str() + copy.size() && std::isfinite(*value);
}

bool InRange(const FlagRange& range, double value) {
  const bool above = range.low_open ? value > range.low : value >= range.low;
  const bool below = range.high_open ? value < range.high : value <= range.high;
  return above && below;
}

std::string DescribeRange(const FlagRange& range) {
  const bool bounded_below = std::isfinite(range.low), bounded_above = std::isfinite(range.high);
  if (bounded_below && bounded_above) {
    return absl::StrFormat(" in %c%g, %g%c", range.low_open ? '(' : '[', range.low, range.high,
                           range.high_open ? ')' : ']');
  }
  if (bounded_below) {
    return absl::StrFormat(range.low_open ? " greater than %g" : " of at least %g", range.low);
  }
  return bounded_above ? absl::StrFormat(" of at most %g", range.high) : "";
}

std::string ExpectedNumber(const Flag& flag, std::string_view text) {
  const bool integer = flag.type == FlagType::kInteger;
  double value = 0;
  const bool parsed = integer ? ParseInteger(text, &value) : ParseReal(text, &value);
  if (parsed && InRange(flag.range, value)) return "";
  return StrCat(integer ? "a whole number" : "a number", DescribeRange(flag.range));
}

bool Among(const std::vector<std::string>& choices, std::string_view text) {
  return std::find(choices.begin(), choices.end(), text) != choices.end();
}

}  // namespace

void FlagTable::Add(Flag flag) {
  std::string name = flag.name;
  flags_.insert_or_assign(std::move(name), std::move(flag));
}

const Flag* FlagTable::Find(std::string_view name) const {
  const auto found = flags_.find(name);
  return found == flags_.end() ? nullptr : &found->second;
}

bool FlagTable::Takes(std::string_view verb, std::string_view name) const {
  const Flag* flag = Find(name);
  return flag != nullptr && Among(flag->verbs, verb);
}

std::string FlagTable::Closest(std::string_view verb, std::string_view name) const {
  const int allowed = name.size() < 4 ? 1 : std::max<int>(2, static_cast<int>(name.size()) / 4);
  std::string best;
  int best_rank = 2 * allowed + 2;  // distance first, then own flags before others'
  for (const auto& [known, flag] : flags_) {
    const int distance = EditDistance(name, known);
    const int rank = 2 * distance + (Among(flag.verbs, verb) ? 0 : 1);
    if (distance <= allowed && rank < best_rank) {
      best = known;
      best_rank = rank;
    }
  }
  return best;
}

std::string ExpectedInstead(const Flag& flag, std::string_view text) {
  switch (flag.type) {
    case FlagType::kBool:
      return Among({"true", "false", "1", "0", "yes", "no"}, text) ? "" : "true or false";
    case FlagType::kInteger:
    case FlagType::kReal:
      return ExpectedNumber(flag, text);
    case FlagType::kText:
      break;
  }
  if (flag.range.choices.empty() || Among(flag.range.choices, text)) return "";
  return StrCat("one of ", absl::StrJoin(flag.range.choices, ", "));
}

std::string CanonicalText(const Flag& flag, std::string_view text) {
  if (flag.type == FlagType::kBool) return Among({"true", "1", "yes"}, text) ? "true" : "false";
  if (flag.type == FlagType::kText) return std::string(text);
  char shortest[32];
  char* const end = shortest + sizeof(shortest);
  if (flag.type == FlagType::kInteger) {
    int64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return std::string(shortest, std::to_chars(shortest, end, value).ptr);
  }
  double value = 0;
  ParseReal(text, &value);
  return std::string(shortest, std::to_chars(shortest, end, value).ptr);
}

int EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::vector<int>> cost(a.size() + 1, std::vector<int>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = static_cast<int>(i + j);
        continue;
      }
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1,
                             cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

std::string DidYouMean(const std::string& closest) {
  return closest.empty() ? "" : StrCat(" (did you mean ", closest, "?)");
}

}  // namespace mixrec::launch
