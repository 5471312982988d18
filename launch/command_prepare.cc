// Raw files into a data set, or a look at a data set that is there.
#include <chrono>

#include "absl/strings/str_format.h"
#include "common/progress_text.h"
#include "data/amazon.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/flags_prepare.h"
#include "launch/options.h"

namespace mixrec::launch {
namespace {

data::AmazonOptions AmazonOptionsOfFlags() {
  data::AmazonOptions options;
  options.reviews = FLAGS_reviews;
  options.meta = FLAGS_meta;
  options.folder = FLAGS_out;
  options.name = FLAGS_name;
  options.k_core = FLAGS_k_core;
  options.min_item_interactions = FLAGS_min_item_interactions;
  options.min_user_interactions = FLAGS_min_user_interactions;
  options.max_broken_share = FLAGS_max_broken;
  return options;
}

absl::Status CheckData(std::ostream& out) {
  MIXREC_ASSIGN_OR_RETURN(const data::Dataset dataset, data::LoadDataset(DatasetOptionsOfFlags()));
  for (const std::string& line : data::Describe(dataset.stats())) out << line << "\n";
  out << "data hash: " << dataset.content_hash() << std::endl;
  return absl::OkStatus();
}

absl::Status PrepareRaw(std::ostream& out) {
  MIXREC_RETURN_IF_ERROR(RequireFlag("reviews", FLAGS_reviews));
  MIXREC_RETURN_IF_ERROR(RequireFlag("meta", FLAGS_meta));
  MIXREC_RETURN_IF_ERROR(RequireFlag("out", FLAGS_out));
  const auto start = std::chrono::steady_clock::now();
  MIXREC_ASSIGN_OR_RETURN(const data::AmazonReport report,
                          data::PrepareAmazon(AmazonOptionsOfFlags()));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const std::string& line : data::Describe(report)) out << line << "\n";
  out << absl::StrFormat("%.1f s, %.0f reviews/s, at most %s of memory\n", seconds,
                         static_cast<double>(report.reviews.lines) / seconds,
                         BytesText(ThisProcessMemory().peak))
      << "wrote " << FLAGS_out << " (next: mixrec prepare --data=" << FLAGS_out << ")" << std::endl;
  return absl::OkStatus();
}

}  // namespace

absl::Status RunPrepare(const Invocation& invocation) {
  const bool raw = !FLAGS_reviews.empty() || !FLAGS_meta.empty();
  if (raw && !FLAGS_data.empty()) {
    return UsageError("--data checks a data set that is there, --reviews and --meta make one into ",
                      "--out; give one or the other");
  }
  if (!raw && FLAGS_data.empty()) {
    return UsageError("give --reviews, --meta and --out to make a data set of raw files, or ",
                      "--data to check one");
  }
  return raw ? PrepareRaw(*invocation.out) : CheckData(*invocation.out);
}

}  // namespace mixrec::launch
