// The live page of a study: a small HTTP server in threads of its own.
//
//   GET /               the page
//   GET /section/NAME   a part of it
//   GET /api/study      the study as JSON (docs/groups.md), with the hash of every part
//   GET /healthz        "ok"
//
// It reads only, and never makes the study wait: it looks at snapshots. Whoever reaches the address
// can read the study, so it should be a loopback address; a network address is allowed and named in
// the log.
#pragma once

#include <memory>
#include <string>

#include "common/status.h"
#include "launch/study_files.h"

namespace mixrec::launch {

class LivePage {
 public:
  // `address`: HOST:PORT, [HOST]:PORT for IPv6; port 0 takes a free one. UsageError for another
  // text, FailureError when it cannot be bound (somebody else has the port).
  static absl::StatusOr<std::unique_ptr<LivePage>> Start(const std::string& address,
                                                         StudySource source);
  // Stops the server and joins its threads.
  ~LivePage();
  LivePage(const LivePage&) = delete;
  LivePage& operator=(const LivePage&) = delete;

  // HOST:PORT that it listens on, for people to open.
  const std::string& address() const;

 private:
  struct State;
  explicit LivePage(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mixrec::launch
