// The flags of a worker group: its own, and the study's.
#pragma once

#include "launch/program.h"
#include "launch/search_setup.h"

namespace mixrec::launch {

// Gives gflags' variables the study's values, but for what this machine decides (threads, device,
// log level) and what was given on the command line.
void TakeStudyFlags(const Invocation& invocation, const StudyBrief& brief);

// Nothing for 0; else this process gets SIGTERM when its parent, which is this process, ends.
void EndWithParent(int64_t parent);

}  // namespace mixrec::launch
