# The envelope of every message (docs/protocol.md). Tensors are not in it: they follow as raw frames,
# little-endian, in the order in which ps/protocol.h declares them. ps/codec.h makes and checks it.
#
# Fields may be added at the end; whoever changes the meaning of one raises kProtocolVersion (ps/codec.cc).
@0x84665d80a62cf3f6;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("mixrec::ps::schema");

struct Envelope {
  request @0 :UInt64;
  incarnation @1 :UInt64;
  epoch @2 :UInt64;
  doneBelow @3 :UInt64;
  slot @4 :Int32 = -1;
  code @5 :UInt8;
  text @6 :Text;

  body :union {
    openSession @7 :OpenSession;
    renewLease @8 :Text;  # space
    createTable @9 :CreateTable;
    pull @10 :Pull;
    push @11 :Push;
    softmaxForward @12 :Softmax;
    softmaxBackward @13 :Softmax;
    topK @14 :TopK;
    rank @15 :Rank;
    save @16 :Snapshot;
    restore @17 :Snapshot;
    dropNamespace @18 :Text;  # space
    stats @19 :Void;
    getMap @20 :Void;

    replicate @21 :UInt64;  # sequence
    replicated @22 :UInt64;  # up to
    stateImage @23 :Piece;
    stateImageReceived @24 :Piece;
    heartbeat @25 :Heartbeat;

    done @26 :Int64;  # version
    rows @27 :Void;
    softmaxPartial @28 :Void;
    topKLists @29 :Void;
    rankPartial @30 :Void;
    saved @31 :Saved;
    statsReport @32 :Text;  # JSON
    map @33 :Map;
  }
}

struct OpenSession {
  space @0 :Text;
  rank @1 :Int32;
  world @2 :Int32;
  consistency @3 :UInt8;
  staleness @4 :Int32;
  leaseSeconds @5 :Int64;
}

struct CreateTable {
  space @0 :Text;
  name @1 :Text;
  rows @2 :Int64;
  parts @3 :List(Part);
  partition @4 :UInt8;
  dense @5 :Bool;
  seed @6 :UInt64;
  optimizer @7 :Optimizer;
}

struct Part {
  name @0 :Text;
  width @1 :Int64;
  stddev @2 :Float64;
}

struct Optimizer {
  kind @0 :UInt8;
  beta1 @1 :Float64;
  beta2 @2 :Float64;
  epsilon @3 :Float64;
  weightDecay @4 :Float64;
}

struct Pull {
  space @0 :Text;
  table @1 :Text;
  step @2 :Int64;
  atLeast @3 :Int64;
}

struct Push {
  space @0 :Text;
  table @1 :Text;
  step @2 :Int64;
  part @3 :Int32;
  parts @4 :Int32;
  learningRate @5 :Float64;
}

struct Softmax {
  space @0 :Text;
  table @1 :Text;
  step @2 :Int64;
  part @3 :Int32;
  parts @4 :Int32;
  sampled @5 :Int64;
  logUniform @6 :Bool;
  width @7 :Int64;
  learningRate @8 :Float64;  # of the second half
  atLeast @9 :Int64;  # of the first half
}

struct TopK {
  space @0 :Text;
  table @1 :Text;
  step @2 :Int64;
  k @3 :Int32;
  width @4 :Int64;
}

struct Rank {
  space @0 :Text;
  table @1 :Text;
  step @2 :Int64;
  width @3 :Int64;
}

struct Snapshot {
  space @0 :Text;
  folder @1 :Text;
  step @2 :Int64;
}

struct Piece {
  sequence @0 :UInt64;
  part @1 :Int32;
  parts @2 :Int32;
}

struct Heartbeat {
  endpoint @0 :Text;
  incarnation @1 :UInt64;
  slot @2 :Int32;
  slotEpoch @3 :UInt64;
  caughtUp @4 :Bool;
}

struct Saved {
  file @0 :Text;
  bytes @1 :Int64;
  hash @2 :Text;
}

struct Map {
  version @0 :UInt64;
  slots @1 :List(Slot);
}

struct Slot {
  epoch @0 :UInt64;
  firstBucket @1 :Int64;
  lastBucket @2 :Int64;
  primary @3 :Replica;
  backup @4 :Replica;
  learner @5 :Replica;
  lineage @6 :UInt64;
}

struct Replica {
  endpoint @0 :Text;
  incarnation @1 :UInt64;
}
