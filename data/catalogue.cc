#include "data/catalogue.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "common/file.h"
#include "common/log.h"
#include "data/catalogue_parts.h"

namespace mixrec::data {
namespace {

constexpr char kMagic[8] = {'M', 'I', 'X', 'R', 'C', 'A', 'T', '\n'};
constexpr uint32_t kVersion = 1;
constexpr size_t kHashDigits = 32;

// docs/data.md describes the file.
struct Header {
  char magic[sizeof(kMagic)] = {};
  uint32_t version = 0;
  uint32_t reserved = 0;
  char inputs[kHashDigits] = {};    // hash of what the catalogue was made from
  char checksum[kHashDigits] = {};  // hash of the bytes after the header
  int64_t prompt_tokens = 0;
  int64_t items = 0;
  int64_t tokens = 0;
};
static_assert(std::is_trivially_copyable_v<Header> && sizeof(Header) == 104);

std::string InputsHash(const Dataset& dataset, const Tokenizer& tokenizer,
                       const CatalogueOptions& options) {
  std::string content =
      StrCat(tokenizer.content_hash(), "\n", options.max_item_tokens, "\n", options.prompt, "\n");
  for (int32_t item = 0; item < dataset.items(); ++item) {
    content += dataset.sentence(item);
    content += '\n';
  }
  return ContentHash(content);
}

template <typename T>
void AppendArray(const std::vector<T>& values, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

template <typename T>
std::vector<T> TakeArray(int64_t count, std::string_view* bytes) {
  std::vector<T> values(static_cast<size_t>(count));
  std::memcpy(values.data(), bytes->data(), values.size() * sizeof(T));
  bytes->remove_prefix(values.size() * sizeof(T));
  return values;
}

}  // namespace

// The cache file: a header, then prompt tokens, offsets and tokens.
class CatalogueCache {
 public:
  static std::string Serialise(const Catalogue& catalogue, const std::string& inputs) {
    std::string body;
    AppendArray(catalogue.prompt_tokens_, &body);
    AppendArray(catalogue.offsets_, &body);
    AppendArray(catalogue.tokens_, &body);
    Header header;
    std::memcpy(header.magic, kMagic, sizeof(kMagic));
    header.version = kVersion;
    std::memcpy(header.inputs, inputs.data(), kHashDigits);
    std::memcpy(header.checksum, ContentHash(body).data(), kHashDigits);
    header.prompt_tokens = static_cast<int64_t>(catalogue.prompt_tokens_.size());
    header.items = catalogue.items();
    header.tokens = catalogue.total_tokens();
    return std::string(reinterpret_cast<const char*>(&header), sizeof(header)) + body;
  }

  // False when the bytes are damaged or were made from other inputs.
  static bool Parse(std::string_view bytes, const std::string& inputs, Catalogue* catalogue) {
    Header header;
    if (bytes.size() < sizeof(header)) return false;
    std::memcpy(&header, bytes.data(), sizeof(header));
    bytes.remove_prefix(sizeof(header));
    if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0 || header.version != kVersion ||
        inputs.compare(0, kHashDigits, header.inputs, kHashDigits) != 0 ||
        ContentHash(bytes).compare(0, kHashDigits, header.checksum, kHashDigits) != 0 ||
        !SizesMatch(header, bytes.size())) {
      return false;
    }
    catalogue->prompt_tokens_ = TakeArray<int32_t>(header.prompt_tokens, &bytes);
    catalogue->offsets_ = TakeArray<int64_t>(header.items + 1, &bytes);
    catalogue->tokens_ = TakeArray<int32_t>(header.tokens, &bytes);
    return OffsetsAreValid(catalogue);
  }

 private:
  static bool SizesMatch(const Header& header, size_t bytes) {
    const auto limit = static_cast<int64_t>(bytes);
    for (const int64_t count : {header.prompt_tokens, header.items, header.tokens}) {
      if (count < 0 || count > limit) return false;
    }
    return 4 * header.prompt_tokens + 8 * (header.items + 1) + 4 * header.tokens == limit;
  }

  static bool OffsetsAreValid(Catalogue* catalogue) {
    const std::vector<int64_t>& offsets = catalogue->offsets_;
    if (offsets.front() != 0 || offsets.back() != catalogue->total_tokens()) return false;
    catalogue->max_item_tokens_ = 0;
    for (size_t item = 0; item + 1 < offsets.size(); ++item) {
      const int64_t length = offsets[item + 1] - offsets[item];
      if (length < 1 || length > catalogue->total_tokens()) return false;
      catalogue->max_item_tokens_ =
          std::max(catalogue->max_item_tokens_, static_cast<int32_t>(length));
    }
    return true;
  }
};

Catalogue::Catalogue(std::vector<int32_t> prompt_tokens,
                     const std::vector<std::vector<int32_t>>& item_tokens)
    : prompt_tokens_(std::move(prompt_tokens)) {
  offsets_.reserve(item_tokens.size() + 1);
  for (const std::vector<int32_t>& tokens : item_tokens) {
    CHECK(!tokens.empty()) << "item " << items() << " has no token";
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    offsets_.push_back(total_tokens());
    max_item_tokens_ = std::max(max_item_tokens_, static_cast<int32_t>(tokens.size()));
  }
}

std::vector<std::vector<int32_t>> TokeniseItems(const Dataset& dataset, const Tokenizer& tokenizer,
                                                const CatalogueOptions& options, int32_t first,
                                                int32_t last) {
  CHECK_GE(options.max_item_tokens, 1) << "an item needs a token";
  std::vector<std::vector<int32_t>> item_tokens;
  for (int32_t item = first; item < last; ++item) {
    std::vector<int32_t>& tokens = item_tokens.emplace_back();
    tokenizer.Encode(dataset.sentence(item), &tokens);
    tokens.resize(std::min(tokens.size(), static_cast<size_t>(options.max_item_tokens)));
  }
  return item_tokens;
}

Catalogue BuildCatalogue(const Dataset& dataset, const Tokenizer& tokenizer,
                         const CatalogueOptions& options) {
  return Catalogue(tokenizer.Encode(options.prompt),
                   TokeniseItems(dataset, tokenizer, options, 0, dataset.items()));
}

std::optional<Catalogue> ReadCatalogueCache(const Dataset& dataset, const Tokenizer& tokenizer,
                                            const CatalogueOptions& options,
                                            const std::string& cache_path) {
  const auto bytes = ReadFile(cache_path);
  if (!bytes.ok()) return std::nullopt;
  Catalogue cached;
  const std::string inputs = InputsHash(dataset, tokenizer, options);
  if (!CatalogueCache::Parse(*bytes, inputs, &cached)) return std::nullopt;
  return cached;
}

absl::Status WriteCatalogueCache(const Catalogue& catalogue, const Dataset& dataset,
                                 const Tokenizer& tokenizer, const CatalogueOptions& options,
                                 const std::string& cache_path) {
  const std::string inputs = InputsHash(dataset, tokenizer, options);
  return WriteFileAtomic(cache_path, CatalogueCache::Serialise(catalogue, inputs));
}

absl::StatusOr<Catalogue> LoadOrBuildCatalogue(const Dataset& dataset, const Tokenizer& tokenizer,
                                               const CatalogueOptions& options,
                                               const std::string& cache_path, bool* from_cache) {
  if (from_cache != nullptr) *from_cache = false;
  if (cache_path.empty()) return BuildCatalogue(dataset, tokenizer, options);
  if (auto cached = ReadCatalogueCache(dataset, tokenizer, options, cache_path)) {
    if (from_cache != nullptr) *from_cache = true;
    return *std::move(cached);
  }
  Catalogue built = BuildCatalogue(dataset, tokenizer, options);
  MIXREC_RETURN_IF_ERROR(WriteCatalogueCache(built, dataset, tokenizer, options, cache_path));
  return built;
}

}  // namespace mixrec::data
