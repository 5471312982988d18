#include "common/metrics.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "common/event_file.h"
#include "common/file.h"
#include "common/log.h"

namespace mixrec {
namespace {

using Json = nlohmann::ordered_json;
using Scalars = std::vector<std::pair<std::string, double>>;

double SystemSeconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<double>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count()) /
         1000;
}

std::string MetricsPath(const std::string& run_folder) { return run_folder + "/metrics.jsonl"; }
std::string EventFolder(const std::string& run_folder) { return run_folder + "/tensorboard"; }

absl::StatusOr<int> OpenForAppend(const std::string& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) return FailureError("cannot open ", path, ": ", std::strerror(errno));
  return file;
}

// All of `bytes` in one write, or none of them: what a full disk left half done is taken back.
absl::Status AppendWhole(int file, std::string_view bytes, const std::string& path) {
  struct stat before {};
  if (::fstat(file, &before) != 0) return FailureError("cannot read the size of ", path);
  ssize_t written = -1;
  do {
    written = ::write(file, bytes.data(), bytes.size());
  } while (written < 0 && errno == EINTR);
  if (written == static_cast<ssize_t>(bytes.size())) return absl::OkStatus();
  const std::string reason = written < 0 ? std::strerror(errno) : "the disk is full";
  if (::ftruncate(file, before.st_size) != 0) {
    return FailureError("cannot take back half a record in ", path, " (", reason, ")");
  }
  return FailureError("cannot append to ", path, ": ", reason,
                      "; free some space and run the same command again");
}

// The numbers at the top level of a record; null stands for one that JSON cannot say.
Scalars ScalarsOf(const Json& record) {
  Scalars scalars;
  for (const auto& [name, value] : record.items()) {
    if (name == "step" || name == "time") continue;
    if (value.is_number()) scalars.emplace_back(name, value.get<double>());
    if (value.is_null()) scalars.emplace_back(name, std::numeric_limits<double>::quiet_NaN());
  }
  return scalars;
}

absl::StatusOr<Json> ParseRecord(std::string_view line, const std::string& path, int line_number) {
  Json record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!record.is_object() || !record.contains("step") || !record["step"].is_number_integer() ||
      !record.contains("time") || !record["time"].is_number()) {
    return DataError(
        path, ":", line_number,
        ": expected a JSON object with \"step\" and \"time\"; move the file away to go "
        "on without its records");
  }
  return record;
}

// What is left of a metrics file: its lines, and the same as framed events.
struct Kept {
  std::string lines, events;
};
absl::StatusOr<Kept> KeepUntil(int64_t step, std::string_view content, const std::string& path) {
  Kept kept;
  int line_number = 0;
  while (!content.empty()) {
    const std::string_view line = content.substr(0, content.find('\n'));
    content.remove_prefix(std::min(content.size(), line.size() + 1));
    MIXREC_ASSIGN_OR_RETURN(const Json record, ParseRecord(line, path, ++line_number));
    const int64_t record_step = record["step"].get<int64_t>();
    if (record_step > step) continue;
    kept.lines.append(line).push_back('\n');
    const Scalars scalars = ScalarsOf(record);
    if (!scalars.empty()) {
      kept.events += ScalarEvent(record["time"].get<double>(), record_step, scalars);
    }
  }
  return kept;
}

absl::Status RemoveEventFiles(const std::string& folder) {
  if (!PathExists(folder)) return absl::OkStatus();
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().filename().string().rfind("events.out.tfevents.", 0) != 0) continue;
    std::filesystem::remove(entry.path(), error);
    if (error) return FailureError("cannot remove ", entry.path().string(), ": ", error.message());
  }
  if (error) return FailureError("cannot list ", folder, ": ", error.message());
  return absl::OkStatus();
}

}  // namespace

MetricsWriter::MetricsWriter(std::string run_folder, MetricsOptions options)
    : run_folder_(std::move(run_folder)), options_(std::move(options)) {
  if (!options_.now) options_.now = SystemSeconds;
}

MetricsWriter::MetricsWriter(MetricsWriter&& other) noexcept
    : run_folder_(std::move(other.run_folder_)),
      options_(std::move(other.options_)),
      metrics_file_(std::exchange(other.metrics_file_, -1)),
      event_file_(std::exchange(other.event_file_, -1)) {}

MetricsWriter& MetricsWriter::operator=(MetricsWriter&& other) noexcept {
  std::swap(run_folder_, other.run_folder_);
  std::swap(options_, other.options_);
  std::swap(metrics_file_, other.metrics_file_);
  std::swap(event_file_, other.event_file_);
  return *this;
}

MetricsWriter::~MetricsWriter() { Close(); }

void MetricsWriter::Close() {
  if (metrics_file_ >= 0) ::close(std::exchange(metrics_file_, -1));
  if (event_file_ >= 0) ::close(std::exchange(event_file_, -1));
}

absl::StatusOr<MetricsWriter> MetricsWriter::Open(const std::string& run_folder,
                                                  MetricsOptions options) {
  const std::string path = MetricsPath(run_folder);
  if (PathExists(path)) {
    MIXREC_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
    const size_t whole = content.rfind('\n') + 1;  // npos + 1 is 0
    if (whole != content.size()) {
      MIXREC_RETURN_IF_ERROR(WriteFileAtomic(path, std::string_view(content).substr(0, whole)));
    }
  }
  MetricsWriter writer(run_folder, std::move(options));
  MIXREC_RETURN_IF_ERROR(writer.OpenFiles());
  return writer;
}

absl::Status MetricsWriter::OpenFiles() {
  MIXREC_ASSIGN_OR_RETURN(metrics_file_, OpenForAppend(MetricsPath(run_folder_)));
  return absl::OkStatus();
}

absl::Status MetricsWriter::Write(int64_t step, const Scalars& values,
                                  const nlohmann::json& extra) {
  CHECK(extra.is_null() || extra.is_object()) << "extra fields of a metrics record are an object";
  Json record{{"step", step}, {"time", options_.now()}};
  for (const auto& [name, value] : values) {
    record[name] = std::isfinite(value) ? Json(value) : Json(nullptr);
  }
  if (extra.is_object()) record.update(Json(extra));
  // An ill-formed name or text becomes U+FFFD: a metric must not end a run.
  const std::string line = record.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  MIXREC_RETURN_IF_ERROR(AppendWhole(metrics_file_, line, MetricsPath(run_folder_)));
  return options_.tensorboard ? MirrorToTensorboard(record) : absl::OkStatus();
}

absl::Status MetricsWriter::MirrorToTensorboard(const Json& record) {
  const Scalars scalars = ScalarsOf(record);
  if (scalars.empty()) return absl::OkStatus();
  const std::string folder = EventFolder(run_folder_);
  const double time = record["time"].get<double>();
  if (event_file_ < 0) {
    MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
    const std::string path = StrCat(folder, "/", EventFileName(time));
    const bool is_new = !PathExists(path);
    MIXREC_ASSIGN_OR_RETURN(event_file_, OpenForAppend(path));
    if (is_new) MIXREC_RETURN_IF_ERROR(AppendWhole(event_file_, EventFileHeader(time), folder));
  }
  return AppendWhole(event_file_, ScalarEvent(time, record["step"].get<int64_t>(), scalars),
                     folder);
}

absl::Status MetricsWriter::TruncateAfterStep(int64_t step) {
  const std::string path = MetricsPath(run_folder_);
  MIXREC_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  MIXREC_ASSIGN_OR_RETURN(const Kept kept, KeepUntil(step, content, path));
  Close();
  MIXREC_RETURN_IF_ERROR(WriteFileAtomic(path, kept.lines));
  MIXREC_RETURN_IF_ERROR(RemoveEventFiles(EventFolder(run_folder_)));
  if (options_.tensorboard && !kept.events.empty()) {
    MIXREC_RETURN_IF_ERROR(MakeFolder(EventFolder(run_folder_)));
    const double now = options_.now();
    const std::string event_path = StrCat(EventFolder(run_folder_), "/", EventFileName(now));
    MIXREC_RETURN_IF_ERROR(WriteFileAtomic(event_path, EventFileHeader(now) + kept.events));
    MIXREC_ASSIGN_OR_RETURN(event_file_, OpenForAppend(event_path));
  }
  return OpenFiles();
}

}  // namespace mixrec
