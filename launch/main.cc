// The process: memory, logging, signals, and the program with its commands.
#include <malloc.h>

#include <iostream>

#include "common/stop_signal.h"
#include "launch/commands.h"
#include "launch/launcher.h"
#include "launch/logging.h"
#include "launch/program.h"

namespace {

// A train step allocates and frees the same large tensors over and over. Kept in the heap they are
// neither mapped nor zeroed by the kernel again.
void KeepFreedMemory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // glibc's largest
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

}  // namespace

int main(int argc, char** argv) {
  KeepFreedMemory();
  mixrec::launch::StartLogging(argv[0]);
  mixrec::InstallStopSignals();  // after glog's crash handler, which takes SIGTERM too
  mixrec::launch::TellLauncherOfBegin();
  const int code = mixrec::launch::RunProgram(mixrec::launch::AllCommands(),
                                              {argv + 1, argv + argc}, std::cout, std::cerr);
  if (code != 0) mixrec::launch::TellLauncher(code);
  return code;
}
