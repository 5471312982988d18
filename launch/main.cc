// The process: logging, signals, and the program with its commands.
#include <iostream>

#include "common/stop_signal.h"
#include "launch/commands.h"
#include "launch/logging.h"
#include "launch/program.h"

int main(int argc, char** argv) {
  mixrec::launch::StartLogging(argv[0]);
  mixrec::InstallStopSignals();  // after glog's crash handler, which takes SIGTERM too
  return mixrec::launch::RunProgram(mixrec::launch::AllCommands(), {argv + 1, argv + argc},
                                    std::cout, std::cerr);
}
