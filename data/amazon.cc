#include "data/amazon.h"

#include <filesystem>
#include <limits>

#include "absl/strings/str_format.h"
#include "common/file.h"
#include "common/stop_signal.h"
#include "data/amazon_files.h"
#include "data/amazon_reviews.h"
#include "data/streamed_file.h"

namespace mixrec::data {
namespace {

constexpr size_t kWriteBytes = size_t{1} << 16;

absl::Status CheckOptions(const AmazonOptions& options) {
  if (options.k_core < 0 || options.min_item_interactions < 1 ||
      options.min_user_interactions < 1) {
    return UsageError("--k_core is at least 0, --min_item_interactions and ",
                      "--min_user_interactions at least 1");
  }
  if (!(options.max_broken_share >= 0 && options.max_broken_share <= 1)) {
    return UsageError("--max_broken=", options.max_broken_share, ": expected a share of 0 to 1");
  }
  return absl::OkStatus();
}

// FOLDER/NAME, to which the extensions are added.
absl::StatusOr<std::string> FileStem(const AmazonOptions& options) {
  std::filesystem::path folder = std::filesystem::path(options.folder).lexically_normal();
  if (folder.filename().empty()) folder = folder.parent_path();  // a trailing slash
  const std::string name = options.name.empty() ? folder.filename().string() : options.name;
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    return UsageError("`", name, "` cannot name the files; give --name");
  }
  return (folder / name).string();
}

// Lines gathered before they are written, which looks for stop requests now and then.
class LineWriter {
 public:
  explicit LineWriter(const std::string& path) : file_(path) {}
  absl::Status Add(std::string_view line) {
    lines_ += line;
    return lines_.size() < kWriteBytes ? absl::OkStatus() : Flush();
  }
  absl::Status Flush() {
    if (StopRequested()) return StoppedError("stopped on request; nothing was written");
    const std::string lines = std::move(lines_);
    lines_.clear();
    return file_.Write(lines);
  }
  absl::Status Commit() { return file_.Commit(); }

 private:
  StreamedFile file_;
  std::string lines_;
};

class Preparation {
 public:
  explicit Preparation(const AmazonOptions& options) : options_(options) {}

  absl::StatusOr<AmazonReport> Run() {
    MIXREC_ASSIGN_OR_RETURN(const std::string stem, FileStem(options_));
    MIXREC_RETURN_IF_ERROR(FindTitledItems());
    MIXREC_RETURN_IF_ERROR(CollectReviews());
    Filter();
    if (reviews_.empty()) {
      return DataError(options_.reviews, ": the filter leaves no interaction of ",
                       report_.reviews_before, "; lower --k_core or the minima");
    }
    report_.folder = std::filesystem::path(stem).parent_path().string();
    MIXREC_RETURN_IF_ERROR(MakeFolder(report_.folder.empty() ? "." : report_.folder));
    LineWriter items(stem + ".item"), interactions(stem + ".inter");
    MIXREC_RETURN_IF_ERROR(WriteItems(&items));
    MIXREC_RETURN_IF_ERROR(WriteInteractions(&interactions));
    MIXREC_RETURN_IF_ERROR(items.Commit());
    MIXREC_RETURN_IF_ERROR(interactions.Commit());
    MIXREC_RETURN_IF_ERROR(SyncFolder(report_.folder.empty() ? "." : report_.folder));
    return report_;
  }

 private:
  // The first pass over the meta file: which items have a title.
  absl::Status FindTitledItems() {
    MIXREC_RETURN_IF_ERROR(
        ReadRawItems(options_, &report_.meta, [this](const RawItem& item) -> absl::Status {
          const auto number = static_cast<size_t>(items_.Add(*item.id));
          if (number == titled_.size()) titled_.push_back(false);
          report_.repeated_items += titled_[number];
          if (item.has_title) titled_[number] = true;
          return absl::OkStatus();
        }));
    report_.items_in_meta = items_.size();
    for (const bool titled : titled_) report_.items_without_title += !titled;
    return absl::OkStatus();
  }

  absl::Status CollectReviews() {
    return ReadReviews(options_, &report_.reviews, [this](const RawReview& review) -> absl::Status {
      const int32_t item = items_.Find(*review.item);
      if (item < 0) {
        ++report_.reviews_of_unknown;
      } else if (!titled_[static_cast<size_t>(item)]) {
        ++report_.reviews_of_untitled;
      } else {
        reviews_.push_back({review.time, users_.Add(*review.user), item, review.rating});
        if (users_.size() == std::numeric_limits<int32_t>::max()) {
          return DataError(options_.reviews, ": more than 2^31 users");
        }
      }
      return absl::OkStatus();
    });
  }

  void Filter() {
    report_.repeated_reviews = SortAndDropRepeated(&reviews_);
    report_.reviews_before = static_cast<int64_t>(reviews_.size());
    report_.users_before = DifferentUsers(reviews_, users_.size());
    report_.items_before = DifferentItems(reviews_, items_.size());
    report_.filter_rounds = FilterReviews(options_, users_.size(), items_.size(), &reviews_);
    report_.interactions = static_cast<int64_t>(reviews_.size());
    report_.users = DifferentUsers(reviews_, users_.size());
    report_.items = DifferentItems(reviews_, items_.size());
  }

  // The second pass over the meta file: texts of what is left.
  absl::Status WriteItems(LineWriter* writer) {
    std::vector<bool> wanted(static_cast<size_t>(items_.size()), false);
    for (const CompactReview& review : reviews_) wanted[static_cast<size_t>(review.item)] = true;
    MIXREC_RETURN_IF_ERROR(
        writer->Add("item_id:token\ttitle:token_seq\tbrand:token_seq\tcategories:token_seq\t"
                    "description:token_seq\n"));
    RawFileReport ignored;
    MIXREC_RETURN_IF_ERROR(
        ReadRawItems(options_, &ignored, [&](const RawItem& item) -> absl::Status {
          const int32_t number = items_.Find(*item.id);
          if (number < 0) return DataError(options_.meta, ": changed while it was read");
          if (!item.has_title || !wanted[static_cast<size_t>(number)]) return absl::OkStatus();
          wanted[static_cast<size_t>(number)] = false;  // the first line with a title counts
          const ItemTexts texts = TextsOf(item);
          return writer->Add(StrCat(*item.id, "\t", texts.title, "\t", texts.brand, "\t",
                                    texts.categories, "\t", texts.description, "\n"));
        }));
    return writer->Flush();
  }

  absl::Status WriteInteractions(LineWriter* writer) {
    MIXREC_RETURN_IF_ERROR(
        writer->Add("user_id:token\titem_id:token\trating:float\ttimestamp:float\n"));
    for (const CompactReview& review : reviews_) {
      MIXREC_RETURN_IF_ERROR(
          writer->Add(StrCat(users_.id(review.user), "\t", items_.id(review.item), "\t",
                             review.rating, "\t", review.time, "\n")));
    }
    return writer->Flush();
  }

  const AmazonOptions& options_;
  AmazonReport report_;
  IdNumbers items_, users_;
  std::vector<bool> titled_;  // [items]
  std::vector<CompactReview> reviews_;
};

std::string DescribeFile(const RawFileReport& file) {
  std::string text = StrCat(file.path, ": ", file.lines, " lines");
  if (file.broken == 0) return text;
  text += StrCat(", ", file.broken, " broken (line");
  for (const int64_t line : file.first_broken) text += StrCat(" ", line);
  return text + (file.broken > static_cast<int64_t>(file.first_broken.size()) ? " ...)" : ")");
}

}  // namespace

absl::StatusOr<AmazonReport> PrepareAmazon(const AmazonOptions& options) {
  MIXREC_RETURN_IF_ERROR(CheckOptions(options));
  return Preparation(options).Run();
}

std::vector<std::string> Describe(const AmazonReport& report) {
  std::vector<std::string> lines{DescribeFile(report.meta), DescribeFile(report.reviews)};
  const auto say_if = [&](int64_t count, std::string_view what) {
    if (count > 0) lines.push_back(StrCat(count, " ", what));
  };
  say_if(report.items_without_title, "items without a title dropped");
  say_if(report.repeated_items, "repeated item lines ignored (the first one with a title counts)");
  say_if(report.reviews_of_unknown, "reviews of items that the meta file lacks dropped");
  say_if(report.reviews_of_untitled, "reviews of items without a title dropped");
  say_if(report.repeated_reviews, "repeated reviews (same user, item and time) dropped");
  lines.push_back(StrCat("before the filter: ", report.users_before, " users, ",
                         report.items_before, " items, ", report.reviews_before, " interactions"));
  lines.push_back(StrCat("after the filter: ", report.users, " users, ", report.items, " items, ",
                         report.interactions, " interactions"));
  const auto interactions = static_cast<double>(report.interactions);
  const auto users = static_cast<double>(report.users), items = static_cast<double>(report.items);
  lines.push_back(absl::StrFormat("density %.4f %%, mean history %.2f items",
                                  100 * interactions / (users * items), interactions / users));
  return lines;
}

}  // namespace mixrec::data
