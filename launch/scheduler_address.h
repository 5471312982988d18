// Where a study's scheduler is: STUDY/scheduler.json, and the key of its socket.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"
#include "net/curve_keys.h"
#include "net/zmq_transport.h"

namespace mixrec::launch {

struct SchedulerAddress {
  std::string address;  // host:port
  std::string http;     // host:port of the live page; empty: none
  std::string host;     // where it runs
  int64_t process = 0;  // there
  uint64_t incarnation = 0;
  std::string key_file;  // empty: no encryption
  std::string study;     // absolute
};

std::string SchedulerFile(const std::string& study);
// NotFound when there is none, DataError when it cannot be read.
absl::StatusOr<SchedulerAddress> ReadSchedulerAddress(const std::string& study);
absl::Status WriteSchedulerAddress(const SchedulerAddress& address);

// The key of a socket at the endpoint: that of `key_file` (made if missing), else, on a network,
// one in the study's folder, else none. `*used` gets the file.
absl::StatusOr<net::CurveKeys> KeysToListen(const std::string& endpoint,
                                            const std::string& key_file, bool insecure,
                                            const std::string& study, std::string* used);

// Listens at the endpoint. Port 0: the port of the scheduler before, if it was on this host and the
// port is free, so that groups need not look for it; else any.
absl::StatusOr<std::unique_ptr<net::ZmqLoop>> ListenAgain(const std::string& endpoint,
                                                          const SchedulerAddress& before,
                                                          net::ZmqOptions options);

}  // namespace mixrec::launch
