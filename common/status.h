// How MixRec reports failures of the outside world.
//
// absl::Status is the carrier; the kind of failure decides the program's exit code. A message says
// what was tried, on what (file, line, field), what was expected and found, and what to do.
// Our own bugs are CHECKs (common/log.h), not Statuses.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace mixrec {

// Exit codes of the program (docs/exit_codes.md); stable.
enum ExitCode : int {
  kExitDone = 0,
  kExitFailure = 1,
  kExitUsage = 2,     // a flag, a flag file or a combination of flags
  kExitData = 3,      // a data set, a checkpoint or another input file
  kExitMemory = 4,    // does not fit in memory
  kExitStopped = 75,  // stopped on request, with a checkpoint: run the same command again
};

// absl::StrCat, for std::string_view too (Debian's Abseil has a string_view of its own).
template <typename T>
const T& StrPiece(const T& piece) {
  return piece;
}
inline absl::string_view StrPiece(std::string_view piece) { return {piece.data(), piece.size()}; }
template <typename... Parts>
std::string StrCat(const Parts&... parts) {
  return absl::StrCat(StrPiece(parts)...);
}

// Each takes the pieces of a message, joined as by StrCat.
template <typename... Parts>
absl::Status UsageError(const Parts&... parts) {
  return absl::InvalidArgumentError(StrCat(parts...));
}
template <typename... Parts>
absl::Status DataError(const Parts&... parts) {
  return absl::DataLossError(StrCat(parts...));
}
template <typename... Parts>
absl::Status MemoryError(const Parts&... parts) {
  return absl::ResourceExhaustedError(StrCat(parts...));
}
template <typename... Parts>
absl::Status StoppedError(const Parts&... parts) {
  return absl::CancelledError(StrCat(parts...));
}
// A failure (exit code 1) that another attempt would meet again: a loss that is not a number.
template <typename... Parts>
absl::Status NotFiniteError(const Parts&... parts) {
  return absl::OutOfRangeError(StrCat(parts...));
}
template <typename... Parts>
absl::Status FailureError(const Parts&... parts) {
  return absl::UnknownError(StrCat(parts...));
}

// kExitDone for OK; by the kind of failure otherwise. NotFound counts as kExitData.
ExitCode ExitCodeOf(const absl::Status& status);

}  // namespace mixrec

#define MIXREC_RETURN_IF_ERROR(expression)                                                       \
  do {                                                                                           \
    if (absl::Status mixrec_status_ = (expression); !mixrec_status_.ok()) return mixrec_status_; \
  } while (false)

#define MIXREC_CONCAT_INNER_(a, b) a##b
#define MIXREC_CONCAT_(a, b) MIXREC_CONCAT_INNER_(a, b)
// MIXREC_ASSIGN_OR_RETURN(auto value, FunctionReturningStatusOr());
#define MIXREC_ASSIGN_OR_RETURN(declaration, expression) \
  MIXREC_ASSIGN_OR_RETURN_(MIXREC_CONCAT_(mixrec_statusor_, __LINE__), declaration, expression)
#define MIXREC_ASSIGN_OR_RETURN_(temporary, declaration, expression) \
  auto temporary = (expression);                                     \
  if (!temporary.ok()) return temporary.status();                    \
  declaration = std::move(temporary).value()
