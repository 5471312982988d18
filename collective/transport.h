// Private to collective/: how bytes move between the processes of a world. One thread, the
// engine's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "common/status.h"

namespace mixrec::collective {

// What one process tells another outside any operation.
struct Control {
  enum class Kind : int32_t {
    kAbort,   // the world has failed; `code` and `text` say why
    kAsk,     // how far are you?
    kAnswer,  // `value` GPU operations were started here
  };
  Kind kind = Kind::kAbort;
  int32_t code = 0;
  int64_t value = 0;
  char text[496] = {};
};

class Transport {
 public:
  using Request = int64_t;

  virtual ~Transport() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Both return at once; the bytes stay where they are until Test is true. Messages between two
  // processes with the same tag arrive in order, and are as long as the receiver expects.
  virtual Request Send(int to, int tag, const void* bytes, size_t size) = 0;
  virtual Request Receive(int from, int tag, void* bytes, size_t size) = 0;
  // True, once, when the request is done: it is forgotten then.
  virtual absl::StatusOr<bool> Test(Request request) = 0;

  // Nothing is written any more to where Receive was told to.
  virtual void CancelReceipts() = 0;

  virtual void SendControl(int to, const Control& control) = 0;
  virtual std::optional<std::pair<int, Control>> TakeControl() = 0;

  // Nothing has moved for a while: rests, so that others may use the core.
  virtual void Idle(int microseconds) = 0;
};

}  // namespace mixrec::collective
