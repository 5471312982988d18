#include "data/synth_world.h"

#include <algorithm>
#include <cmath>

#include "data/synth_words.h"

namespace mixrec::data {
namespace {

constexpr auto kDepartmentCount = static_cast<int32_t>(kDepartments.size());
constexpr int32_t kCategoriesPerDepartment = 4;
constexpr int64_t kItemsPerCategory = 12;  // small catalogues have fewer categories
constexpr int64_t kItemsPerBrand = 16;
constexpr double kSameDepartment = .7;

// Category c lies in department c % kDepartmentCount: few categories still span departments.
int32_t DepartmentOf(int32_t category) { return category % kDepartmentCount; }
const DepartmentWords& DepartmentWordsOf(int32_t category) {
  return kDepartments[static_cast<size_t>(DepartmentOf(category))];
}
const CategoryWords& CategoryWordsOf(int32_t category) {
  return DepartmentWordsOf(category).categories[static_cast<size_t>(category / kDepartmentCount)];
}

template <typename Words>
std::string_view Pick(const Words& words, RandomStream* random) {
  return words[random->Below(words.size())];
}

std::string MakeName(uint64_t key, int syllables) {
  RandomStream random(key);
  std::string name;
  for (int k = 0; k < syllables; ++k) name += Pick(kSyllables, &random);
  name[0] = static_cast<char>(name[0] - 'a' + 'A');
  return name;
}

// Index k of 0..count-1 with weight 1/(k+1).
int32_t DrawHarmonic(int32_t count, RandomStream* random) {
  const double rank = std::pow(static_cast<double>(count) + 1, random->Uniform());
  return std::min(count - 1, static_cast<int32_t>(rank) - 1);
}

}  // namespace

SynthWorld::SynthWorld(const SynthOptions& options)
    : seed_(options.seed),
      brands_per_department_(static_cast<int32_t>(
          std::clamp<int64_t>(options.items / kDepartmentCount / kItemsPerBrand, 2, 400))),
      items_(static_cast<size_t>(options.items)),
      popular_(static_cast<size_t>(std::clamp<int64_t>(
          options.items / kItemsPerCategory, 1, kDepartmentCount * kCategoriesPerDepartment))) {
  MakeItems();
  RankItems(options.popularity_exponent);
}

// A bundle has one brand and one category, but for its third item, which comes from another.
void SynthWorld::MakeItems() {
  for (int64_t item = 0; item < items(); ++item) {
    const int64_t bundle = item / kBundleItems;
    RandomStream random(HashKey(seed_, "bundle", static_cast<uint64_t>(bundle)));
    SynthItem& made = items_[static_cast<size_t>(item)];
    made.category = static_cast<int32_t>(bundle % categories());
    made.brand = DrawBrand(made.category, &random);
    if (item % kBundleItems == 2) made.category = DriftFrom(made.category, &random);
    popular_[static_cast<size_t>(made.category)].push_back(static_cast<int32_t>(item));
  }
}

void SynthWorld::RankItems(double exponent) {
  for (size_t category = 0; category < popular_.size(); ++category) {
    std::vector<int32_t>& ranked = popular_[category];
    RandomStream random(HashKey(seed_, "popularity", static_cast<uint64_t>(category)));
    for (size_t k = ranked.size(); k > 1; --k) std::swap(ranked[k - 1], ranked[random.Below(k)]);
    std::vector<double>& sums = cumulative_.emplace_back();
    double sum = 0;
    for (size_t k = 0; k < ranked.size(); ++k) {
      sum += std::pow(static_cast<double>(k) + 1, -exponent);
      sums.push_back(sum);
    }
  }
}

int64_t SynthWorld::Successor(int64_t item) const {
  const int64_t first = item - item % kBundleItems;
  const int64_t size = std::min(kBundleItems, items() - first);
  return first + (item - first + 1) % size;
}

SynthText SynthWorld::Text(int64_t item) const {
  const SynthItem& made = this->item(item);
  const DepartmentWords& department = DepartmentWordsOf(made.category);
  const CategoryWords& category = CategoryWordsOf(made.category);
  const auto bundle = static_cast<uint64_t>(item / kBundleItems);
  RandomStream random(HashKey(seed_, "title", static_cast<uint64_t>(item)));
  const std::string_view noun = Pick(category.nouns, &random);
  SynthText text;
  text.brand = MakeName(HashKey(seed_, "brand", static_cast<uint64_t>(made.brand)), 3);
  text.title =
      StrCat(text.brand, " ", MakeName(HashKey(seed_, "series", bundle), 2), " ",
             100 * (1 + bundle % 9), " ", Pick(department.adjectives, &random), " ",
             Pick(department.materials, &random), " ", noun, ", ", Pick(kVariants, &random));
  text.categories = StrCat(department.name, ",", category.name, ",", noun);
  return text;
}

int32_t SynthWorld::DrawCategory(RandomStream* random) const {
  return DrawHarmonic(categories(), random);
}

int32_t SynthWorld::DriftFrom(int32_t category, RandomStream* random) const {
  const int32_t department = DepartmentOf(category);
  const int32_t siblings = (categories() - department + kDepartmentCount - 1) / kDepartmentCount;
  if (siblings > 1 && random->Uniform() < kSameDepartment) {
    const auto sibling = static_cast<int32_t>(random->Below(static_cast<uint64_t>(siblings)));
    return department + sibling * kDepartmentCount;
  }
  return DrawCategory(random);
}

int64_t SynthWorld::DrawItem(int32_t category, RandomStream* random) const {
  const auto index = static_cast<size_t>(category);
  const std::vector<double>& sums = cumulative_[index];
  const double at = random->Uniform() * sums.back();
  const auto found = std::upper_bound(sums.begin(), sums.end() - 1, at);
  return popular_[index][static_cast<size_t>(found - sums.begin())];
}

int32_t SynthWorld::DrawBrand(int32_t category, RandomStream* random) const {
  return DepartmentOf(category) * brands_per_department_ +
         DrawHarmonic(brands_per_department_, random);
}

}  // namespace mixrec::data
