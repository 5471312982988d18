#include "data/synth.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string_view>
#include <vector>

#include "common/file.h"
#include "common/random.h"
#include "data/streamed_file.h"
#include "data/synth_world.h"

namespace mixrec::data {
namespace {

constexpr int64_t kFewestInteractions = 5;
constexpr int kTries = 6;                     // to find an item that the user has not met
constexpr double kBrandLoyalty = .5;          // chance to look again for the favourite brand
constexpr int64_t kFirstSecond = 1500000000;  // of the first possible interaction

absl::Status CheckOptions(const SynthOptions& options) {
  const auto probability = [](double value) { return value >= 0 && value <= 1; };
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (options.users < 1 || options.users > kMost) {
    return UsageError("--users: expected 1 to 2^31-1, found ", options.users);
  }
  if (options.items < 2 * kBundleItems || options.items > kMost) {
    return UsageError("--items: expected ", 2 * kBundleItems, " to 2^31-1, found ", options.items);
  }
  if (!(options.mean_length >= kFewestInteractions) || options.max_length < options.mean_length) {
    return UsageError("--mean_length: expected at least ", kFewestInteractions, " and at most ",
                      options.max_length, ", found ", options.mean_length);
  }
  if (!probability(options.bundle_probability) || !probability(options.drift_probability) ||
      !(options.popularity_exponent >= 0)) {
    return UsageError("probabilities lie in [0, 1] and the popularity exponent is at least 0");
  }
  return absl::OkStatus();
}

// One user's purchases: a taste (category, brand) that drifts, and bundles carried on.
class Shopper {
 public:
  Shopper(const SynthWorld& world, const SynthOptions& options, int64_t user)
      : world_(world),
        options_(options),
        random_(HashKey(options.seed, "user", static_cast<uint64_t>(user))),
        category_(world.DrawCategory(&random_)),
        brand_(world.DrawBrand(category_, &random_)) {}

  std::vector<int64_t> Shop() {
    const int64_t length = DrawLength();
    while (static_cast<int64_t>(bought_.size()) < length) bought_.push_back(NextItem());
    return std::move(bought_);
  }

  // Seconds until the next purchase.
  int64_t Pause() { return 60 + static_cast<int64_t>(random_.Below(14 * 24 * 3600)); }

 private:
  // 5 and a geometric number more.
  int64_t DrawLength() {
    const double more = options_.mean_length - kFewestInteractions;
    const double stop = 1 / (more + 1);
    const double drawn =
        stop < 1 ? std::floor(std::log1p(-random_.Uniform()) / std::log1p(-stop)) : 0;
    const auto most = static_cast<double>(options_.max_length - kFewestInteractions);
    return kFewestInteractions + static_cast<int64_t>(std::min(drawn, most));
  }

  bool Bought(int64_t item) const {
    return std::find(bought_.begin(), bought_.end(), item) != bought_.end();
  }

  int64_t NextItem() {
    if (!bought_.empty() && random_.Uniform() < options_.bundle_probability) {
      const int64_t follower = world_.Successor(bought_.back());
      if (!Bought(follower)) return follower;
    }
    if (random_.Uniform() < options_.drift_probability) {
      category_ = world_.DriftFrom(category_, &random_);
      brand_ = world_.DrawBrand(category_, &random_);
    }
    int64_t item = world_.DrawItem(category_, &random_);
    for (int tries = 1; tries < kTries; ++tries) {
      const bool other_brand = world_.item(item).brand != brand_;
      const bool look_on = other_brand && random_.Uniform() < kBrandLoyalty;
      if (!Bought(item) && !look_on) break;
      item = world_.DrawItem(category_, &random_);
    }
    return item;
  }

  const SynthWorld& world_;
  const SynthOptions& options_;
  RandomStream random_;
  int32_t category_, brand_;
  std::vector<int64_t> bought_;
};

absl::Status WriteItems(const SynthWorld& world, const std::string& path) {
  StreamedFile file(path);
  MIXREC_RETURN_IF_ERROR(
      file.Write("item_id:token\ttitle:token_seq\tbrand:token_seq\tcategories:token_seq\n"));
  for (int64_t item = 0; item < world.items(); ++item) {
    const SynthText text = world.Text(item);
    MIXREC_RETURN_IF_ERROR(file.Write(
        StrCat("i", item, "\t", text.title, "\t", text.brand, "\t", text.categories, "\n")));
  }
  return file.Commit();
}

absl::Status WriteInteractions(const SynthWorld& world, const SynthOptions& options,
                               const std::string& path) {
  StreamedFile file(path);
  MIXREC_RETURN_IF_ERROR(file.Write("user_id:token\titem_id:token\ttimestamp:float\n"));
  for (int64_t user = 0; user < options.users; ++user) {
    Shopper shopper(world, options, user);
    std::string lines;
    int64_t second = kFirstSecond;
    for (const int64_t item : shopper.Shop()) {
      second += shopper.Pause();
      lines += StrCat("u", user, "\ti", item, "\t", second, "\n");
    }
    MIXREC_RETURN_IF_ERROR(file.Write(lines));
  }
  return file.Commit();
}

}  // namespace

absl::Status WriteSynthetic(const SynthOptions& options, const std::string& folder) {
  MIXREC_RETURN_IF_ERROR(CheckOptions(options));
  std::filesystem::path path = std::filesystem::path(folder).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();  // a trailing slash
  const std::string name = path.filename().string();
  if (name.empty() || name == "." || name == "..") {
    return UsageError("`", folder, "`: the data folder needs a name, which names its files");
  }
  MIXREC_RETURN_IF_ERROR(MakeFolder(path.string()));
  const SynthWorld world(options);
  MIXREC_RETURN_IF_ERROR(WriteItems(world, (path / (name + ".item")).string()));
  MIXREC_RETURN_IF_ERROR(WriteInteractions(world, options, (path / (name + ".inter")).string()));
  return SyncFolder(path.string());
}

}  // namespace mixrec::data
