#include "launch/stop_flags.h"

#include <csignal>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/stop_signal.h"
#include "launch/flags.h"

namespace mixrec::launch {
namespace {

constexpr uint32_t kLongest = 10 * 366 * 86400u;

// Adds the numbers, of units of `seconds`, largest first. Whether all of them are numbers.
bool AddSeconds(const std::vector<std::string>& numbers, const std::vector<uint32_t>& seconds,
                uint64_t* total) {
  for (size_t k = 0; k < numbers.size(); ++k) {
    uint32_t number = 0;
    if (!absl::SimpleAtoi(numbers[k], &number)) return false;
    *total += uint64_t{number} * seconds[k];
  }
  return true;
}

// Units of so many numbers, with days before them or without.
std::vector<uint32_t> Units(size_t numbers, bool days) {
  if (days) return {3600, 60, 1};
  return numbers == 3 ? std::vector<uint32_t>{3600, 60, 1} : std::vector<uint32_t>{60, 1};
}

}  // namespace

absl::StatusOr<unsigned> ParseWalltime(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '-');
  const std::vector<std::string> numbers = absl::StrSplit(parts.back(), ':');
  const bool days = parts.size() == 2;
  uint64_t seconds = 0;
  const bool read = parts.size() <= 2 && numbers.size() <= 3 &&
                    AddSeconds(numbers, Units(numbers.size(), days), &seconds) &&
                    (!days || AddSeconds({parts[0]}, {86400}, &seconds));
  if (read && seconds > 0 && seconds <= kLongest) return static_cast<unsigned>(seconds);
  return UsageError("--max_walltime=", text,
                    ": expected a time as 90 (minutes), 1:30:00 or 2-12:00 ", "(days)");
}

absl::Status HeedStopFlags(const Invocation& invocation) {
  if (!invocation.table->Takes(invocation.verb->name, "max_walltime")) return absl::OkStatus();
  static constexpr std::pair<const char*, int> kSignals[] = {
      {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"HUP", SIGHUP}};
  for (const auto& [name, signal] : kSignals) {
    if (FLAGS_stop_signal == name) TakeStopSignal(signal);
  }
  if (FLAGS_max_walltime.empty()) return absl::OkStatus();
  MIXREC_ASSIGN_OR_RETURN(const unsigned seconds, ParseWalltime(FLAGS_max_walltime));
  StopAfter(seconds);
  return absl::OkStatus();
}

}  // namespace mixrec::launch
