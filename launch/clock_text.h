// Where and when, as text for run.json.
#pragma once

#include <string>

namespace mixrec::launch {

std::string UtcNow();  // "2026-01-31T23:59:59Z"
std::string HostName();

}  // namespace mixrec::launch
