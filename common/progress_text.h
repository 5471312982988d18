// Short texts for people: times, sizes, the memory of this process.
#pragma once

#include <cstdint>
#include <string>

namespace mixrec {

// "45s", "3m20s", "1h02m", "2d03h"; "?" for what is negative or not finite.
std::string DurationText(double seconds);

// "512 B", "1.5 KiB", "20 MiB", "3.2 GiB": two digits, powers of 1024.
std::string BytesText(int64_t bytes);

// The memory of this process, bytes; zero where /proc does not say.
struct MemoryUsage {
  int64_t resident = 0;  // now (VmRSS)
  int64_t peak = 0;      // the most so far (VmHWM)
};
MemoryUsage ThisProcessMemory();

}  // namespace mixrec
