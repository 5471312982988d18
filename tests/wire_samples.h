// One valid message of every kind, with a value of its own in every field.
#pragma once

#include <string>
#include <vector>

#include "net/buffer.h"
#include "ps/protocol.h"

namespace mixrec::ps {

inline net::Buffer Ints(const std::vector<int32_t>& values) {
  return net::Buffer::Copy(values.data(), 4 * values.size());
}
inline net::Buffer Floats(const std::vector<float>& values) {
  return net::Buffer::Copy(values.data(), 4 * values.size());
}

inline TableSpec SampleSpec() {
  TableSpec spec;
  spec.name = "items";
  spec.rows = 1000;
  spec.parts = {{"weight", 64, 0.02}, {"bias", 1, 0}};
  spec.partition = Partition::kRanges;
  spec.dense = true;
  spec.optimizer = {Optimizer::kAdagrad, 0.8, 0.99, 1e-6, 0.02};
  spec.seed = 77;
  return spec;
}

inline ShardMap SampleMap() {
  ShardMap map;
  map.version = 5;
  map.slots.push_back({3, 2, {0, 2048}, {"tcp://a:1", 11}, {"tcp://b:2", 12}, {"tcp://c:3", 13}});
  map.slots.push_back({4, 1, {2048, 4096}, {"tcp://b:2", 12}, {}, {}});
  return map;
}

inline std::vector<Body> SampleBodies() {
  const TableKey key{"study/7/1", "items"};
  const net::Buffer states = Floats({1, 2, 3, 4, 5, 6});  // [2, 3]
  const net::Buffer pair = Floats({0.5f, 0.25f});
  const net::Buffer labels = Ints({4, 9});
  return {
      OpenSession{"study/7/1", 1, 4, Consistency::kSsp, 3, 30},
      RenewLease{"study/7/1"},
      CreateTable{"study/7/1", SampleSpec()},
      Pull{key, 12, 11, Ints({5, 6, 7})},
      Push{key, 13, 1, 2, 1e-3, Ints({5, 6}), Floats({1, 2, 3, 4, 5, 6})},
      SoftmaxForward{key, 14, 2, 3, 100, true, 3, states, labels, 13},
      SoftmaxBackward{key, 15, 2, 3, 100, true, 2e-3, 3, pair, pair, states, labels},
      TopK{key, 16, 5, 3, states, Ints({0, 1, 3}), Ints({8, 9, 10})},
      Rank{key, 17, 3, states, labels, pair, Ints({0, 0, 1}), Ints({8})},
      Save{"study/7/1", "/snapshots/run", 18},
      Restore{"study/7/1", "/snapshots/run", 19},
      DropNamespace{"study/7/1"},
      Stats{},
      GetMap{},
      Replicate{20, net::Buffer::Copy("envelope"), {labels, {}, pair}},
      Replicated{22},
      StateImage{23, 1, 4, net::Buffer::Copy("state")},
      StateImageReceived{24, 3},
      Heartbeat{"tcp://a:1", 25, 2, 26, true},
      Done{27},
      Rows{states},
      SoftmaxPartial{pair, pair, pair, Floats({1, 2, 3}), states},
      TopKLists{labels, pair},
      RankPartial{pair, labels},
      Saved{"shard-0.mxs", 4096, "00ff"},
      StatsReport{"{\"rows\": 1}"},
      Map{SampleMap()},
  };
}

inline Wire SampleWire(Body body) {
  Wire wire;
  wire.envelope = {41, 42, 43, 40, 2, Code::kRefused, "no such table"};
  wire.body = std::move(body);
  return wire;
}

}  // namespace mixrec::ps
