// Private to worker/: stretches of launches captured as CUDA graphs. A step is one graph
// (step_graphs.h), or several with talk between them (segmented_step.h).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace mixrec::worker {

// One captured stretch.
class Graph {
 public:
  virtual ~Graph() = default;
  // Launches it in the current stream.
  virtual void Replay() = 0;
};

// Graphs that run one after another, so all of them use the same memory: what a graph leaves to a
// later one is a tensor that somebody keeps. One thread. Without a GPU nothing is ever captured.
class GraphPool {
 public:
  explicit GraphPool(at::Device device) : device_(device) {}
  GraphPool(const GraphPool&) = delete;
  GraphPool& operator=(const GraphPool&) = delete;
  // Gives back the memory of graphs that are gone.
  ~GraphPool();

  bool captures() const { return device_.is_cuda(); }
  // Waits until the current stream has done everything.
  void Finish() const;

  // Ends a graph, and begins the next one.
  using Cut = std::function<void()>;
  // The graphs, one after another, of what `work` launches; it runs nothing. Nothing in it may wait
  // for the device.
  std::vector<std::unique_ptr<Graph>> Capture(const std::function<void(const Cut&)>& work);

 private:
  at::Device device_;
  bool used_ = false;
  // The allocator's name of the memory, which is gone with the last graph.
  struct Memory;
  std::weak_ptr<Memory> memory_;
};

}  // namespace mixrec::worker
