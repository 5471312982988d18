// What a point of the search means for the model: the 3L bits, and optionally the replacement
// frequency r and the bottleneck width as ordinal dimensions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bo_driver/search_space.h"
#include "common/status.h"
#include "scheduler/journal.h"

namespace mixrec::bo_driver {

inline constexpr char kReplaceEvery[] = "replace_every";
inline constexpr char kBottleneck[] = "bottleneck";

// A line of the search-space file.
struct Dimension {
  std::string name;  // kReplaceEvery or kBottleneck
  bool logarithmic = false;
  std::vector<double> values;  // whole numbers, increasing
};

// One dimension a line, `name type range`: "bottleneck log 16,32,64" or "replace_every ordinal
// 1,2,3,4,6". Type: `ordinal` (the levels are equally far from each other) or `log` (by their
// ratio). Blank lines and what follows a # are read over. UsageError with path and line.
absl::StatusOr<std::vector<Dimension>> ParseDimensions(const std::string& text,
                                                       const std::string& path);
// Its inverse for one dimension.
std::string DimensionLine(const Dimension& dimension);

class ArchitectureDomain {
 public:
  // Without r among the dimensions: `layers` DAMoE layers. With it: a backbone of `layers` layers;
  // the bits are those of the DAMoE layers at the smallest r, and a larger r uses the bits at the
  // same depth. Bits that a point's r leaves out are 0 in its canonical form.
  ArchitectureDomain(int layers, std::vector<Dimension> dimensions);

  const SearchSpace& space() const { return space_; }
  const std::vector<Dimension>& dimensions() const { return dimensions_; }
  // The 3L bits of the point, L being the number of its DAMoE layers.
  std::string Architecture(const Point& point) const;
  // The values of its ordinal dimensions, by name.
  std::map<std::string, int64_t> Values(const Point& point) const;
  // For the journal: "layer00.causal", "layer00.context", ... with the choices "serial" and
  // "parallel", then the ordinal dimensions.
  std::vector<scheduler::TrialParameter> Parameters(const Point& point) const;

 private:
  int DamoeLayers(int replace_every) const;
  int SmallestReplaceEvery() const;
  // The layer of bits that DAMoE layer `layer` takes at r.
  int BitsLayer(int layer, int replace_every) const;
  Point Canonical(Point point) const;

  int layers_;
  std::vector<Dimension> dimensions_;
  int replace_dimension_ = -1;  // among dimensions_
  SearchSpace space_;
};

}  // namespace mixrec::bo_driver
