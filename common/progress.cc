#include "common/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <utility>

#include "common/progress_text.h"
#include "common/status.h"

namespace mixrec {
namespace {

constexpr double kSecondsBeforeSpeedIsKnown = 1;

void WriteToStderr(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

double SteadySeconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

int TerminalColumns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

// At most `bytes` bytes of `text`, never half a UTF-8 character.
std::string_view CutText(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

}  // namespace

Progress::Progress(ProgressOptions options) : options_(std::move(options)) {
  if (!options_.write) options_.write = WriteToStderr;
  if (!options_.now) options_.now = SteadySeconds;
  is_terminal_ = options_.is_terminal.value_or(::isatty(STDERR_FILENO) == 1);
  start_seconds_ = options_.now();
}

Progress::~Progress() { Finish(); }

bool Progress::IsDue(int64_t step) const {
  if (options_.silent_when_short && !is_terminal_ && !last_print_seconds_) {
    return options_.now() - start_seconds_ >= options_.plain_interval_seconds;
  }
  if (!last_print_seconds_ || (options_.total > 0 && step >= options_.total)) return true;
  const double interval =
      is_terminal_ ? options_.terminal_interval_seconds : options_.plain_interval_seconds;
  return options_.now() - *last_print_seconds_ >= interval;
}

double Progress::SecondsLeft(int64_t step) const {
  const int64_t done = step - options_.first_step;
  const double elapsed = options_.now() - start_seconds_;
  if (options_.total <= 0 || done <= 0 || elapsed < kSecondsBeforeSpeedIsKnown) return -1;
  return elapsed / static_cast<double>(done) * static_cast<double>(options_.total - step);
}

std::string Progress::Line(int64_t step, std::string_view text) const {
  std::string line = StrCat(options_.name, options_.name.empty() ? "" : " ", step);
  if (options_.total > 0)
    line += StrCat("/", options_.total, " (", 100 * step / options_.total, "%)");
  if (!text.empty()) line += StrCat(" | ", text);
  const double left = SecondsLeft(step);
  if (left >= 0) line += StrCat(" | ", DurationText(left), " left");
  if (options_.memory) line += StrCat(" | ", BytesText(ThisProcessMemory().resident));
  return line;
}

void Progress::Update(int64_t step, std::string_view text) {
  if (!IsDue(step)) return;
  const std::string line = Line(step, text);
  last_print_seconds_ = options_.now();
  if (!is_terminal_) {
    options_.write(line + "\n");
    return;
  }
  const int columns = options_.columns ? *options_.columns : TerminalColumns();
  const std::string_view shown =
      columns > 1 ? CutText(line, static_cast<size_t>(columns - 1)) : std::string_view(line);
  options_.write(StrCat("\r", shown, "\x1b[K"));  // "erase to the end of the line"
  line_is_open_ = true;
}

void Progress::Finish() {
  if (!std::exchange(line_is_open_, false)) return;
  options_.write("\n");
}

}  // namespace mixrec
