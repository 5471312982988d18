#include "model/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "model/safetensors_dtype.h"

namespace mixrec::model {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaximumHeader = 100'000'000;  // as the reference implementation has it
constexpr size_t kMaximumRank = 64;

}  // namespace

// Fills in a SafetensorsFile from its header.
class SafetensorsHeader {
 public:
  explicit SafetensorsHeader(SafetensorsFile* file) : file_(file) {}

  absl::Status Read() {
    MIXREC_ASSIGN_OR_RETURN(const Json header, Parse());
    for (const auto& [name, value] : header.items()) {
      MIXREC_RETURN_IF_ERROR(name == "__metadata__" ? ReadMetadata(value) : ReadEntry(name, value));
    }
    return CheckCoverage();
  }

 private:
  struct Range {
    size_t begin, end;
    const std::string* name;
  };

  template <typename... Parts>
  absl::Status Error(const Parts&... parts) const {
    return DataError(file_->path_, ": ", parts...);
  }

  absl::StatusOr<Json> Parse() {
    const std::string_view bytes = file_->file_.bytes();
    if (bytes.size() < kLengthBytes) {
      return Error("truncated: ", bytes.size(), " bytes are too few for a safetensors file");
    }
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), kLengthBytes);
    if (length > kMaximumHeader || length > bytes.size() - kLengthBytes) {
      return Error("truncated or not a safetensors file: the header claims ", length,
                   " bytes, the file has ", bytes.size());
    }
    const std::string_view text = bytes.substr(kLengthBytes, length);
    file_->bytes_ = bytes.substr(kLengthBytes + length);

    std::set<std::string> seen;
    std::string problem;
    const Json::parser_callback_t check = [&](int depth, Json::parse_event_t event, Json& value) {
      if (depth > 4) problem = "the header is nested too deeply";
      if (event == Json::parse_event_t::key && depth == 1 &&
          !seen.insert(value.get<std::string>()).second) {
        problem = StrCat("the tensor \"", value.get<std::string>(), "\" is there twice");
      }
      return problem.empty();
    };
    Json header = Json::parse(text, check, /*allow_exceptions=*/false);
    if (!problem.empty()) return Error(problem);
    if (!header.is_object()) return Error("the header is not a JSON object in UTF-8");
    return header;
  }

  absl::Status ReadMetadata(const Json& value) {
    if (!value.is_object()) return Error("__metadata__ is not a JSON object");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) return Error("__metadata__: \"", key, "\" is not a string");
      file_->metadata_[key] = text.get<std::string>();
    }
    return absl::OkStatus();
  }

  absl::Status ReadEntry(const std::string& name, const Json& value) {
    if (!value.is_object() || !value.contains("dtype") || !value["dtype"].is_string() ||
        !value.contains("shape") || !value["shape"].is_array() || !value.contains("data_offsets")) {
      return Error("tensor \"", name, "\": expected dtype, shape and data_offsets");
    }
    SafetensorsFile::Entry entry;
    const std::string dtype = value["dtype"].get<std::string>();
    const auto type = SafetensorsTypeOf(dtype);
    if (!type) return Error("tensor \"", name, "\": dtype ", dtype, " is not supported");
    entry.info.dtype = *type;
    uint64_t bytes = 0;
    MIXREC_RETURN_IF_ERROR(ReadShape(name, value["shape"], &entry.info, &bytes));
    MIXREC_RETURN_IF_ERROR(ReadRange(name, value["data_offsets"], bytes, &entry.begin));
    file_->names_.push_back(name);
    file_->entries_.emplace(name, std::move(entry));
    return absl::OkStatus();
  }

  // `bytes`: what the values take.
  absl::Status ReadShape(const std::string& name, const Json& shape, TensorInfo* info,
                         uint64_t* bytes) {
    if (shape.size() > kMaximumRank) {
      return Error("tensor \"", name, "\": ", shape.size(), " dimensions are too many");
    }
    *bytes = c10::elementSize(info->dtype);
    bool empty = false;
    for (const Json& size : shape) {
      if (!size.is_number_unsigned()) {
        return Error("tensor \"", name, "\": a size of its shape is not a whole number");
      }
      // A zero must not hide a product of the other sizes that overflows.
      const uint64_t factor = size.get<uint64_t>();
      empty = empty || factor == 0;
      if (__builtin_mul_overflow(*bytes, std::max<uint64_t>(factor, 1), bytes) ||
          *bytes > static_cast<uint64_t>(INT64_MAX)) {
        return Error("tensor \"", name, "\": its shape overflows");
      }
      info->shape.push_back(static_cast<int64_t>(factor));
    }
    if (empty) *bytes = 0;
    return absl::OkStatus();
  }

  absl::Status ReadRange(const std::string& name, const Json& offsets, uint64_t bytes,
                         size_t* begin) {
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned()) {
      return Error("tensor \"", name, "\": data_offsets is not a pair of whole numbers");
    }
    const uint64_t first = offsets[0].get<uint64_t>();
    const uint64_t last = offsets[1].get<uint64_t>();
    if (first > last || last > file_->bytes_.size()) {
      return Error("tensor \"", name, "\": data_offsets [", first, ", ", last,
                   "] lie outside the file's ", file_->bytes_.size(),
                   " bytes of values (truncated?)");
    }
    if (last - first != bytes) {
      return Error("tensor \"", name, "\": ", last - first, " bytes, but its dtype and shape need ",
                   bytes);
    }
    *begin = first;
    return absl::OkStatus();
  }

  // Values follow one another without overlaps or gaps, as the format demands.
  absl::Status CheckCoverage() const {
    std::vector<Range> ranges;
    for (const std::string& name : file_->names_) {
      const auto& entry = file_->entries_.at(name);
      ranges.push_back({entry.begin, entry.begin + static_cast<size_t>(entry.info.bytes()), &name});
    }
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
      return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
    });
    size_t end = 0;
    for (const Range& range : ranges) {
      if (range.begin < end) {
        return Error("tensor \"", *range.name, "\" overlaps the tensor before it");
      }
      if (range.begin > end) {
        return Error("tensor \"", *range.name, "\": ", range.begin - end,
                     " bytes before it belong to no tensor");
      }
      end = range.end;
    }
    if (end != file_->bytes_.size()) {
      return Error(file_->bytes_.size() - end, " bytes at the end belong to no tensor");
    }
    return absl::OkStatus();
  }

  SafetensorsFile* file_;
};

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  SafetensorsFile file;
  file.path_ = path;
  MIXREC_ASSIGN_OR_RETURN(file.file_, MappedFile::Open(path));
  MIXREC_RETURN_IF_ERROR(SafetensorsHeader(&file).Read());
  return file;
}

const TensorInfo* SafetensorsFile::Find(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second.info;
}

absl::StatusOr<at::Tensor> SafetensorsFile::Get(const std::string& name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return DataError(path_, ": tensor \"", name, "\" is missing");
  const TensorInfo& info = found->second.info;
  // A byte that is neither 0 nor 1 is no bool: it is read as a number first.
  const bool is_bool = info.dtype == at::kBool;
  at::Tensor tensor = at::empty(info.shape, is_bool ? at::kByte : info.dtype);
  const size_t bytes = static_cast<size_t>(info.bytes());
  if (bytes > 0) std::memcpy(tensor.data_ptr(), bytes_.data() + found->second.begin, bytes);
  return is_bool ? tensor.ne(0) : tensor;
}

}  // namespace mixrec::model
