// One line that says how far long work is.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace mixrec {

struct ProgressOptions {
  std::string name;        // what is counted, e.g. "train"
  int64_t total = 0;       // the last step; 0: not known, no time left is given
  int64_t first_step = 0;  // steps done before this process, by the run it resumes
  double terminal_interval_seconds = 0.2;
  double plain_interval_seconds = 10;
  // In plain lines, say nothing about work that ends within the first interval.
  bool silent_when_short = false;
  bool memory = true;  // adds the resident memory of this process

  // For tests. Unset: stderr, whether it is a terminal, its width, the steady clock.
  std::function<void(std::string_view)> write;
  std::optional<bool> is_terminal;
  std::optional<int> columns;   // lines are cut there on a terminal; 0: never
  std::function<double()> now;  // seconds
};

// On a terminal, one line that is written over; elsewhere (a file, a batch system) plain lines, at
// most one every plain_interval_seconds. The first and the last step always print,
// unless silent_when_short. One thread.
class Progress {
 public:
  explicit Progress(ProgressOptions options);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  // as Finish

  // `step` steps are done. `text` is the caller's part: rate, loss parts. The line reads
  // "train 120/4000 (3%) | TEXT | 3m20s left | 1.2 GiB".
  void Update(int64_t step, std::string_view text);

  // Whether Update would print now: asked before a text that is dear to make.
  bool IsDue(int64_t step) const;

  // Ends the line on a terminal, so that what comes next starts on its own.
  void Finish();

  // Seconds to the end at the mean speed so far; negative while unknown.
  double SecondsLeft(int64_t step) const;

 private:
  std::string Line(int64_t step, std::string_view text) const;

  ProgressOptions options_;
  bool is_terminal_ = false;
  double start_seconds_ = 0;
  std::optional<double> last_print_seconds_;
  bool line_is_open_ = false;
};

}  // namespace mixrec
