// A request to stop (Ctrl-C, SIGTERM, SIGUSR1): the handler only sets a flag; long work asks for it
// at its step boundaries, saves and ends with kExitStopped. A second Ctrl-C ends at once.
#pragma once

namespace mixrec {

// Installs the handlers; call once, in main.
void InstallStopSignals();

// Whether somebody asked the process to stop. Any thread.
bool StopRequested();

// As if a signal had come; for tests and --simulate_preemption.
void RequestStop();

// Forgets a request; for tests.
void ClearStopRequest();

}  // namespace mixrec
