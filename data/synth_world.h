// The made-up shop behind a synthetic data set: departments, categories, brands, and bundles of
// items that are bought one after the other. Private to data/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/random.h"
#include "data/synth.h"

namespace mixrec::data {

inline constexpr int64_t kBundleItems = 4;

struct SynthItem {
  int32_t category = 0;
  int32_t brand = 0;
};

struct SynthText {
  std::string title, brand, categories;
};

class SynthWorld {
 public:
  explicit SynthWorld(const SynthOptions& options);

  int64_t items() const { return static_cast<int64_t>(items_.size()); }
  int32_t categories() const { return static_cast<int32_t>(popular_.size()); }
  const SynthItem& item(int64_t item) const { return items_[static_cast<size_t>(item)]; }

  // The item that follows in the bundle; the bundle's first follows its last.
  int64_t Successor(int64_t item) const;
  // Title in the words of the item's category, its bundle's series and its brand.
  SynthText Text(int64_t item) const;

  // A category by popularity; one near `category` (mostly of the same department).
  int32_t DrawCategory(RandomStream* random) const;
  int32_t DriftFrom(int32_t category, RandomStream* random) const;
  // An item of a category by popularity.
  int64_t DrawItem(int32_t category, RandomStream* random) const;
  // Brands of an item's department are numbered alike, so a taste carries over to its categories.
  int32_t DrawBrand(int32_t category, RandomStream* random) const;

 private:
  void MakeItems();
  void RankItems(double exponent);

  uint64_t seed_;
  int32_t brands_per_department_;
  std::vector<SynthItem> items_;
  std::vector<std::vector<int32_t>> popular_;    // [categories] items, most popular first
  std::vector<std::vector<double>> cumulative_;  // [categories] running sums of popularity
};

}  // namespace mixrec::data
