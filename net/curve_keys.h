// The key of a cluster: one CurveZMQ pair that its servers and workers share. Who does not have it
// can neither come in nor read along.
#pragma once

#include <string>

#include "common/status.h"

namespace mixrec::net {

// Both in Z85, 40 characters.
struct CurveKeys {
  std::string public_key, secret_key;

  bool empty() const { return secret_key.empty(); }
};

absl::StatusOr<CurveKeys> NewCurveKeys();

// UsageError when the file can be read by others than its owner, DataError when it is no key file.
absl::StatusOr<CurveKeys> ReadCurveKeys(const std::string& path);

// Reads the file, or makes it (mode 0600) when it is not there. Two processes may do so at once.
absl::StatusOr<CurveKeys> ReadOrMakeCurveKeys(const std::string& path);

}  // namespace mixrec::net
