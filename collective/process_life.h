// Private to collective/: whether a process of this host still lives.
#pragma once

#include <cstdint>

namespace mixrec::collective {

struct ProcessId {
  int64_t pid = 0;
  int64_t start_time = 0;  // in the kernel's ticks: a later process of the number has another
};

ProcessId ThisProcess();
// False when it has ended, a zombie included. Of a process on this host.
bool Lives(const ProcessId& process);

}  // namespace mixrec::collective
