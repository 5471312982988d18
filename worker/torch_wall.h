// Private to worker/: LibTorch's exceptions end here and become a Status.
#pragma once

#include <c10/util/Exception.h>

#include <new>
#include <string>

#include "common/status.h"

namespace mixrec::worker {

// work(), which returns a Status or StatusOr. Out of memory, on either device, is a MemoryError.
template <typename Work>
auto BehindTorchWall(const std::string& what, const Work& work) -> decltype(work()) {
  try {
    return work();
  } catch (const c10::OutOfMemoryError& error) {
    return MemoryError(what, ": out of GPU memory: ", error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return MemoryError(what, ": out of memory");
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    const bool memory = text.find("can't allocate memory") != std::string::npos;
    return memory ? MemoryError(what, ": out of memory: ", text) : FailureError(what, ": ", text);
  }
}

}  // namespace mixrec::worker
