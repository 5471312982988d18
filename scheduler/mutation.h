// Deliberate mistakes, one at a time, that the simulation must find (docs/testing.md). The program
// never sets them.
#pragma once

namespace mixrec::scheduler {

enum class Mutation {
  kNone,
  kNoExpiry,         // a lease does not end when its group falls silent
  kFinishTwice,      // a result that comes again is recorded again
  kNoSync,           // the journal says a record is on the disk when it is not
  kLateOverwrites,   // a result of another attempt replaces the one that is there
  kMoreThanSlots,    // a group gets a trial more than it has slots
  kForgottenLeases,  // a scheduler that is started again gives leased trials to others
};

}  // namespace mixrec::scheduler
