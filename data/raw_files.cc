#include "data/raw_files.h"

#include <zlib.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "common/file.h"
#include "common/random.h"
#include "data/atomic_file.h"
#include "data/synth_words.h"

namespace mixrec::data {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kTextSeed = 1;
constexpr uint64_t kFewestWords = 20, kMoreWords = 60;
constexpr char kCompression[] = "wb3";

// Gzipped lines under a temporary name; only Commit gives the file its own.
class GzipWriter {
 public:
  explicit GzipWriter(std::string path)
      : path_(std::move(path)),
        partial_(path_ + ".partial"),
        file_(gzopen(partial_.c_str(), kCompression)) {}
  GzipWriter(const GzipWriter&) = delete;
  GzipWriter& operator=(const GzipWriter&) = delete;
  ~GzipWriter() {
    if (file_ == nullptr) return;
    gzclose_w(file_);
    std::remove(partial_.c_str());
  }

  absl::Status Add(const Json& line) {
    const std::string text = line.dump() + "\n";
    if (file_ == nullptr || gzwrite(file_, text.data(), static_cast<unsigned>(text.size())) <= 0) {
      return Failure();
    }
    return absl::OkStatus();
  }
  absl::Status Commit() {
    gzFile file = file_;
    file_ = nullptr;
    if (file == nullptr || gzclose_w(file) != Z_OK) return Failure();
    if (std::rename(partial_.c_str(), path_.c_str()) != 0) return Failure();
    return absl::OkStatus();
  }

 private:
  absl::Status Failure() const {
    return FailureError(path_, ": cannot write: ", std::strerror(errno));
  }

  std::string path_, partial_;
  gzFile file_;
};

std::string ReviewText(uint64_t number) {
  RandomStream random(HashKey(kTextSeed, "review", number));
  const uint64_t words = kFewestWords + random.Below(kMoreWords);
  std::string text;
  for (uint64_t word = 0; word < words; ++word) {
    if (word > 0) text += ' ';
    for (int syllable = 0; syllable < 3; ++syllable) {
      text += kSyllables[random.Below(kSyllables.size())];
    }
  }
  return text;
}

std::vector<std::string> SplitCategories(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return parts;
}

absl::Status WriteMeta(const std::string& folder) {
  MIXREC_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::OpenOnly(folder, ".item"));
  std::vector<size_t> columns;
  for (const char* name : {"item_id", "title", "brand", "categories"}) {
    MIXREC_ASSIGN_OR_RETURN(columns.emplace_back(), file.RequiredColumn(name, ""));
  }
  GzipWriter writer(folder + "/meta.json.gz");
  std::vector<std::string_view> line;
  for (;;) {
    MIXREC_ASSIGN_OR_RETURN(const bool more, file.Next(&line));
    if (!more) return writer.Commit();
    MIXREC_RETURN_IF_ERROR(writer.Add({{"category", SplitCategories(line[columns[3]])},
                                       {"title", line[columns[1]]},
                                       {"brand", line[columns[2]]},
                                       {"description", Json::array()},
                                       {"asin", line[columns[0]]}}));
  }
}

absl::Status WriteReviews(const std::string& folder) {
  MIXREC_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::OpenOnly(folder, ".inter"));
  std::vector<size_t> columns;
  for (const char* name : {"user_id", "item_id", "timestamp"}) {
    MIXREC_ASSIGN_OR_RETURN(columns.emplace_back(), file.RequiredColumn(name, ""));
  }
  GzipWriter writer(folder + "/reviews.json.gz");
  std::vector<std::string_view> line;
  for (uint64_t number = 0;; ++number) {
    MIXREC_ASSIGN_OR_RETURN(const bool more, file.Next(&line));
    if (!more) return writer.Commit();
    const int64_t time = std::strtoll(std::string(line[columns[2]]).c_str(), nullptr, 10);
    MIXREC_RETURN_IF_ERROR(writer.Add({{"overall", 1.0 + static_cast<double>(number % 5)},
                                       {"verified", true},
                                       {"reviewerID", line[columns[0]]},
                                       {"asin", line[columns[1]]},
                                       {"reviewText", ReviewText(number)},
                                       {"unixReviewTime", time}}));
  }
}

}  // namespace

absl::Status WriteRawFiles(const std::string& folder) {
  MIXREC_RETURN_IF_ERROR(WriteMeta(folder));
  return WriteReviews(folder);
}

}  // namespace mixrec::data
