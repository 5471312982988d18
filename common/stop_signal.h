// A request to stop (Ctrl-C, SIGTERM, SIGUSR1): the handler only sets a flag; long work asks for it
// at its step boundaries, saves and ends with kExitStopped. A second Ctrl-C ends at once.
#pragma once

namespace mixrec {

// Installs the handlers; call once, in main.
void InstallStopSignals();

// From now on `signal` asks to stop in the place of SIGUSR1, which is again as main found it: other
// tools in the process may want it.
void TakeStopSignal(int signal);

// Asks to stop after so many seconds, by SIGALRM.
void StopAfter(unsigned seconds);

// Whether somebody asked the process to stop. Any thread.
bool StopRequested();

// As if a signal had come; for tests and --simulate_preemption.
void RequestStop();

// Forgets a request; for tests.
void ClearStopRequest();

}  // namespace mixrec
