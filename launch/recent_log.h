// The last lines that this process logged: what a failed trial's record shows.
#pragma once

#include <deque>
#include <mutex>
#include <string>

#include "common/log.h"

namespace mixrec::launch {

// Listens from its construction to its end. Any thread.
class RecentLog : private google::LogSink {
 public:
  explicit RecentLog(size_t lines = 30);
  RecentLog(const RecentLog&) = delete;
  RecentLog& operator=(const RecentLog&) = delete;
  ~RecentLog() override;

  // Oldest first, a line each.
  std::string Text() const;

 private:
  void send(google::LogSeverity severity, const char* full_filename, const char* base_filename,
            int line, const google::LogMessageTime& time, const char* message,
            size_t message_size) override;

  const size_t most_;
  mutable std::mutex mutex_;
  std::deque<std::string> lines_;  // under mutex_
};

}  // namespace mixrec::launch
