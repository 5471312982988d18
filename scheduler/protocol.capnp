# What worker groups and the scheduler say to each other (scheduler/protocol.h says what it means,
# scheduler/codec.h makes and checks it). Fields may be added at the end; whoever changes the meaning
# of one raises kProtocolVersion (scheduler/codec.cc).
@0x9b1c6a07d1f0e7b5;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("mixrec::scheduler::schema");

struct Envelope {
  body :union {
    groupReport @0 :GroupReport;
    assignment @1 :Assignment;
  }
}

struct GroupReport {
  name @0 :Text;
  incarnation @1 :UInt64;
  state @2 :UInt8;
  slots @3 :Int32;
  ranks @4 :Int32;
  host @5 :Text;
  device @6 :Text;
  process @7 :Int64;
  sequence @8 :UInt64;
  settings @9 :Text;
  ready @10 :Bool;
  trials @11 :List(HeldTrial);
}

struct HeldTrial {
  trial @0 :Int32;
  attempt @1 :Int32;
  scores @2 :List(Score);
  outcome @3 :UInt8;
  value @4 :Float64;
  seconds @5 :Float64;
  failure @6 :UInt8;
  reason @7 :Text;
  log @8 :Text;
}

struct Score {
  epoch @0 :Int32;
  value @1 :Float64;
}

struct Assignment {
  incarnation @0 :UInt64;
  number @1 :UInt64;
  groupIncarnation @2 :UInt64;
  heard @3 :UInt64;
  leaseSeconds @4 :Float64;
  heartbeatSeconds @5 :Float64;
  refused @6 :Text;
  study @7 :Text;
  phase @8 :UInt8;
  reason @9 :Text;
  trials @10 :List(LeasedTrial);
  settled @11 :List(TrialAttempt);
}

struct LeasedTrial {
  trial @0 :Int32;
  attempt @1 :Int32;
  work @2 :Text;
  knownEpoch @3 :Int32;
}

struct TrialAttempt {
  trial @0 :Int32;
  attempt @1 :Int32;
}
