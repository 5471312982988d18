#include "launch/recent_log.h"

namespace mixrec::launch {

RecentLog::RecentLog(size_t lines) : most_(lines) { google::AddLogSink(this); }

RecentLog::~RecentLog() { google::RemoveLogSink(this); }

std::string RecentLog::Text() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::string text;
  for (const std::string& line : lines_) text += line + "\n";
  return text;
}

void RecentLog::send(google::LogSeverity severity, const char*, const char* base_filename, int line,
                     const google::LogMessageTime& time, const char* message, size_t message_size) {
  std::string text =
      google::LogSink::ToString(severity, base_filename, line, time, message, message_size);
  const std::lock_guard<std::mutex> lock(mutex_);
  lines_.push_back(std::move(text));
  if (lines_.size() > most_) lines_.pop_front();
}

}  // namespace mixrec::launch
