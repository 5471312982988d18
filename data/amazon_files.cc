#include "data/amazon_files.h"

#include <cmath>
#include <limits>
#include <optional>
#include <string_view>

#include "absl/strings/str_format.h"
#include "common/progress.h"
#include "common/stop_signal.h"
#include "data/page_text.h"
#include "data/text_lines.h"

namespace mixrec::data {
namespace {

constexpr size_t kFirstBroken = 5;     // line numbers that are told
constexpr int64_t kProbe = 1000;       // lines; a file of another format is found so early
constexpr int64_t kCheckLines = 4096;  // between looks at the clock and at stop requests
constexpr int64_t kMebibyte = int64_t{1} << 20;
// Of pages that were not understood when the data were collected: their "titles" are scripts.
constexpr std::string_view kScriptMark = "getTime";

enum ReviewField : size_t { kUser, kReviewedItem, kRating, kTime };
enum ItemField : size_t { kItem, kTitle, kBrand, kCategory, kDescription };

bool IsBlank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

// Ids become values of tab-separated columns.
bool IsId(const std::string& text) {
  return !text.empty() && text.find_first_of("\t\r\n") == std::string::npos;
}

absl::Status TooManyBroken(const RawFileReport& report, double limit) {
  return DataError(
      report.path, ": ", report.broken, " of ", report.lines,
      " lines are not what is expected, the first in line ", report.first_broken.front(),
      absl::StrFormat("; at most %g %% may be. Expected one JSON object a line", 100 * limit),
      ", as the 2018 files have; older files hold Python literals");
}

// Whether the line was a record; `take` gets it.
using LineReader = std::function<absl::StatusOr<bool>(std::string_view line)>;

absl::Status ReadLines(const AmazonOptions& options, const std::string& stage,
                       RawFileReport* report, const LineReader& read) {
  MIXREC_ASSIGN_OR_RETURN(TextLines lines, TextLines::Open(report->path));
  std::optional<Progress> progress;
  if (options.progress) {
    ProgressOptions shown;
    shown.name = stage;
    shown.total = lines.size() / kMebibyte;
    shown.silent_when_short = true;
    progress.emplace(shown);
  }
  std::string_view line;
  for (;;) {
    MIXREC_ASSIGN_OR_RETURN(const bool more, lines.Next(&line));
    if (!more) break;
    if (IsBlank(line)) continue;
    MIXREC_ASSIGN_OR_RETURN(const bool fine, read(line));
    ++report->lines;
    if (!fine && ++report->broken <= static_cast<int64_t>(kFirstBroken)) {
      report->first_broken.push_back(lines.number());
    }
    if (report->lines == kProbe && report->broken == kProbe) break;
    if (report->lines % kCheckLines != 0) continue;
    if (StopRequested()) return StoppedError("stopped on request; nothing was written");
    if (progress)
      progress->Update(lines.position() / kMebibyte, StrCat("MiB, ", report->lines, " lines"));
  }
  const double limit = options.max_broken_share * static_cast<double>(report->lines);
  if (static_cast<double>(report->broken) > limit) {
    return TooManyBroken(*report, options.max_broken_share);
  }
  if (report->lines == 0) return DataError(report->path, ": no lines");
  return absl::OkStatus();
}

bool ReadReview(const JsonRecord& record, RawReview* review) {
  review->user = &record.text(kUser);
  review->item = &record.text(kReviewedItem);
  const std::optional<double> rating = record.number(kRating), time = record.number(kTime);
  if (!IsId(*review->user) || !IsId(*review->item) || !rating || !time) return false;
  if (!(*time >= 0 && *time <= std::numeric_limits<uint32_t>::max())) return false;
  review->time = static_cast<uint32_t>(*time);
  review->rating = static_cast<float>(*rating);
  return true;
}

std::string Joined(const std::vector<std::string>& parts, std::string_view separator) {
  std::string joined;
  for (const std::string& part : parts) {
    const std::string text = PageText(part);
    if (text.empty()) continue;
    if (!joined.empty()) joined += separator;
    joined += text;
  }
  return joined;
}

std::string Title(const JsonRecord& record) {
  const std::string& raw = record.text(kTitle);
  return raw.find(kScriptMark) == std::string::npos ? PageText(raw) : std::string();
}

}  // namespace

ItemTexts TextsOf(const RawItem& item) {
  const JsonRecord& record = *item.record;
  return {Title(record), PageText(record.text(kBrand)), Joined(record.texts(kCategory), ","),
          Joined(record.texts(kDescription), " ")};
}

absl::Status ReadReviews(const AmazonOptions& options, RawFileReport* report,
                         const std::function<absl::Status(const RawReview&)>& take) {
  *report = {};
  report->path = options.reviews;
  JsonRecord record({"reviewerID", "asin", "overall", "unixReviewTime"});
  return ReadLines(options, "reviews", report, [&](std::string_view line) -> absl::StatusOr<bool> {
    RawReview review;
    if (!record.Parse(line) || !ReadReview(record, &review)) return false;
    MIXREC_RETURN_IF_ERROR(take(review));
    return true;
  });
}

absl::Status ReadRawItems(const AmazonOptions& options, RawFileReport* report,
                          const std::function<absl::Status(const RawItem&)>& take) {
  *report = {};
  report->path = options.meta;
  JsonRecord record({"asin", "title", "brand", "category", "description"});
  return ReadLines(options, "items", report, [&](std::string_view line) -> absl::StatusOr<bool> {
    if (!record.Parse(line) || !IsId(record.text(kItem))) return false;
    MIXREC_RETURN_IF_ERROR(take({&record.text(kItem), !Title(record).empty(), &record}));
    return true;
  });
}

}  // namespace mixrec::data
