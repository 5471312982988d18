// The mpirun that started this process, as far as it can be known without MPI.
#pragma once

namespace mixrec::launch {

// Whether this is the first process of its command, or of no mpirun: it speaks for the others as
// long as they have not met.
bool IsFirstOfCommand();

// How many processes the mpirun started; 0: there is none.
int ProcessesOfLauncher();

// From now on, this process and its children are nobody's ranks.
void ForgetLauncher();

// Says in FILE.begun, beside TellLauncher's file, that the first process of a command has begun and
// hears signals.
void TellLauncherOfBegin();

// Writes an exit code into the file that launch/mpi.sh named, if it did: mpirun's own code says how
// it ended its processes, which is not always how the command ended. Another rank than the first
// writes it beside, as FILE.other, for when the first cannot.
void TellLauncher(int code);

}  // namespace mixrec::launch
