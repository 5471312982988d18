#include "common/progress_text.h"

#include <cmath>
#include <fstream>
#include <sstream>

#include "absl/strings/str_format.h"

namespace mixrec {

std::string DurationText(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const int64_t whole = std::llround(std::fmin(seconds, 1e9));
  if (whole < 60) return absl::StrFormat("%ds", whole);
  if (whole < 3600) return absl::StrFormat("%dm%02ds", whole / 60, whole % 60);
  if (whole < 86400) return absl::StrFormat("%dh%02dm", whole / 3600, whole % 3600 / 60);
  return absl::StrFormat("%dd%02dh", whole / 86400, whole % 86400 / 3600);
}

std::string BytesText(int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  // 1023.5 would print as 1024.
  while (value >= 1023.5 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  // 9.95 would print as 10.0.
  return absl::StrFormat(unit == 0 || value >= 9.95 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
}

MemoryUsage ThisProcessMemory() {
  MemoryUsage usage;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    std::istringstream fields(line);
    std::string name;
    int64_t kibibytes = 0;
    if (!(fields >> name >> kibibytes)) continue;
    if (name == "VmRSS:") usage.resident = kibibytes * 1024;
    if (name == "VmHWM:") usage.peak = kibibytes * 1024;
  }
  return usage;
}

}  // namespace mixrec
