#include "bo_driver/architecture_domain.h"

#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "common/log.h"
#include "model/architecture.h"

namespace mixrec::bo_driver {
namespace {

constexpr const char* kSiteNames[] = {"causal", "context", "recommendation"};
static_assert(std::size(kSiteNames) == model::kSitesPerLayer);
constexpr size_t kMostLevels = 100;

absl::StatusOr<std::vector<double>> ParseLevels(const std::string& text) {
  std::vector<double> values;
  for (const auto& part : absl::StrSplit(text, ',')) {
    int64_t value = 0;
    if (!absl::SimpleAtoi(part, &value) || value < 1 || value > 1000000) {
      return UsageError("\"", text, "\" is not a list of whole numbers from 1 on");
    }
    if (!values.empty() && static_cast<double>(value) <= values.back()) {
      return UsageError("the levels \"", text, "\" do not increase");
    }
    values.push_back(static_cast<double>(value));
  }
  if (values.size() < 2 || values.size() > kMostLevels) {
    return UsageError("found ", values.size(), " levels, expected 2 to ", kMostLevels);
  }
  return values;
}

absl::StatusOr<Dimension> ParseDimension(const std::vector<std::string>& words) {
  if (words.size() != 3) {
    return UsageError("expected `name type range`, such as `bottleneck log 16,32,64`");
  }
  Dimension dimension;
  dimension.name = words[0];
  if (words[0] != kReplaceEvery && words[0] != kBottleneck) {
    return UsageError("unknown dimension \"", words[0], "\": expected ", kReplaceEvery, " or ",
                      kBottleneck, " (the bits are always there)");
  }
  if (words[1] != "ordinal" && words[1] != "log") {
    return UsageError("unknown type \"", words[1], "\": expected ordinal or log");
  }
  dimension.logarithmic = words[1] == "log";
  MIXREC_ASSIGN_OR_RETURN(dimension.values, ParseLevels(words[2]));
  return dimension;
}

std::string LevelText(double value) { return StrCat(static_cast<int64_t>(value)); }

}  // namespace

absl::StatusOr<std::vector<Dimension>> ParseDimensions(const std::string& text,
                                                       const std::string& path) {
  std::vector<Dimension> dimensions;
  int number = 0;
  for (const auto& piece : absl::StrSplit(text, '\n')) {
    std::string line(piece);
    ++number;
    line = line.substr(0, line.find('#'));
    const std::vector<std::string> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty()) continue;
    const absl::StatusOr<Dimension> dimension = ParseDimension(words);
    if (!dimension.ok()) {
      return UsageError(path, ":", number, ": ", std::string(dimension.status().message()));
    }
    const bool again =
        std::any_of(dimensions.begin(), dimensions.end(),
                    [&](const Dimension& known) { return known.name == dimension->name; });
    if (again) return UsageError(path, ":", number, ": ", dimension->name, " is there twice");
    dimensions.push_back(*dimension);
  }
  return dimensions;
}

std::string DimensionLine(const Dimension& dimension) {
  return StrCat(dimension.name, dimension.logarithmic ? " log " : " ordinal ",
                absl::StrJoin(dimension.values, ",",
                              [](std::string* out, double value) { *out += LevelText(value); }));
}

ArchitectureDomain::ArchitectureDomain(int layers, std::vector<Dimension> dimensions)
    : layers_(layers), dimensions_(std::move(dimensions)) {
  for (size_t i = 0; i < dimensions_.size(); ++i) {
    const Dimension& dimension = dimensions_[i];
    if (dimension.name == kReplaceEvery) replace_dimension_ = static_cast<int>(i);
    space_.ordinals.push_back(dimension.logarithmic
                                  ? LogOrdinal(dimension.name, dimension.values)
                                  : EvenOrdinal(dimension.name, dimension.values));
  }
  space_.bits_per_layer = model::kSitesPerLayer;
  space_.bits = DamoeLayers(SmallestReplaceEvery()) * model::kSitesPerLayer;
  if (replace_dimension_ < 0) return;
  // A copy of this that the space may keep.
  auto domain = std::make_shared<ArchitectureDomain>(*this);
  space_.canonical = [domain](Point point) { return domain->Canonical(std::move(point)); };
}

int ArchitectureDomain::SmallestReplaceEvery() const {
  return replace_dimension_ < 0
             ? 1
             : static_cast<int>(
                   dimensions_[static_cast<size_t>(replace_dimension_)].values.front());
}

int ArchitectureDomain::DamoeLayers(int replace_every) const {
  return model::DamoeLayers(layers_, replace_every);
}

int ArchitectureDomain::BitsLayer(int layer, int replace_every) const {
  const double depth = static_cast<double>((layer + 1) * replace_every);  // in backbone layers
  const int nearest = static_cast<int>(std::lround(depth / SmallestReplaceEvery())) - 1;
  return std::min(nearest, space_.layers() - 1);
}

std::map<std::string, int64_t> ArchitectureDomain::Values(const Point& point) const {
  CHECK(space_.Contains(point));
  std::map<std::string, int64_t> values;
  for (size_t i = 0; i < dimensions_.size(); ++i) {
    const size_t level = point[static_cast<size_t>(space_.bits) + i];
    values[dimensions_[i].name] = static_cast<int64_t>(dimensions_[i].values[level]);
  }
  return values;
}

std::string ArchitectureDomain::Architecture(const Point& point) const {
  int replace_every = 1;
  if (replace_dimension_ >= 0) replace_every = static_cast<int>(Values(point).at(kReplaceEvery));
  std::string bits;
  for (int layer = 0; layer < DamoeLayers(replace_every); ++layer) {
    const auto first = static_cast<size_t>(BitsLayer(layer, replace_every) * model::kSitesPerLayer);
    for (size_t site = 0; site < model::kSitesPerLayer; ++site) {
      bits += point[first + site] ? '1' : '0';
    }
  }
  return bits;
}

Point ArchitectureDomain::Canonical(Point point) const {
  const int replace_every = static_cast<int>(Values(point).at(kReplaceEvery));
  std::vector<bool> used(static_cast<size_t>(space_.layers()), false);
  for (int layer = 0; layer < DamoeLayers(replace_every); ++layer) {
    used[static_cast<size_t>(BitsLayer(layer, replace_every))] = true;
  }
  for (size_t bit = 0; bit < static_cast<size_t>(space_.bits); ++bit) {
    if (!used[bit / model::kSitesPerLayer]) point[bit] = 0;
  }
  return point;
}

std::vector<scheduler::TrialParameter> ArchitectureDomain::Parameters(const Point& point) const {
  std::vector<scheduler::TrialParameter> parameters;
  for (int bit = 0; bit < space_.bits; ++bit) {
    parameters.push_back({absl::StrFormat("layer%02d.%s", bit / model::kSitesPerLayer,
                                          kSiteNames[bit % model::kSitesPerLayer]),
                          {"serial", "parallel"},
                          point[static_cast<size_t>(bit)]});
  }
  for (size_t i = 0; i < dimensions_.size(); ++i) {
    scheduler::TrialParameter parameter{dimensions_[i].name, {}, 0};
    for (const double value : dimensions_[i].values) parameter.choices.push_back(LevelText(value));
    parameter.index = point[static_cast<size_t>(space_.bits) + i];
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

}  // namespace mixrec::bo_driver
