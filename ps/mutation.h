// Deliberate mistakes, one at a time, that the simulation must find (docs/testing.md). The program
// never sets them.
#pragma once

namespace mixrec::ps {

enum class Mutation {
  kNone,
  kNoDeduplication,       // a repeated effect is applied again
  kEarlyAcknowledgement,  // the primary answers before its backup has the update
  kNoEpochCheck,          // a backup accepts updates of an older epoch
  kStaleRead,             // a pull is answered before its version is there
  kTornSnapshot,          // a snapshot is restored although it is not whole
};

}  // namespace mixrec::ps
