// Trainings in several threads of a process that step together: a step of all of them is one pass
// of their rows through the frozen weights (resident_step.h). They go epoch by epoch: an epoch
// begins when everybody is there, so that a training that ended makes room for the next one; within
// an epoch one that ends early, or fails, leaves the others alone.
#pragma once

#include <ATen/ATen.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "worker/own_stream.h"
#include "worker/step_graphs.h"

namespace mixrec::worker {

// Any thread. Outlives its seats.
class SideBySide {
 public:
  // `seats`: trainings that may be there at once. An epoch waits so long for the training that may
  // follow one that is gone.
  explicit SideBySide(at::Device device, int64_t seats,
                      std::chrono::milliseconds patience = std::chrono::seconds(3));
  ~SideBySide();

  // The place of one training, in its thread. While it exists, the others' epochs wait for it.
  class Seat {
   public:
    // Keeps the pointers in `member`.
    Seat(SideBySide* all, const StepMember& member);
    ~Seat();
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;

    // Between Enter, which waits for the others, and Leave, Step waits for them as well. What the
    // thread has launched before Enter is done after it.
    void Enter();
    void Leave();
    // One step with everybody who has not left. What a step throws, each of them gets.
    model::Losses Step(const StepInput& input);

   private:
    SideBySide* const all_;
    int64_t id_ = 0;
  };

  // Steps of the largest number of trainings together so far.
  int64_t most_together() const;

 private:
  enum class Place { kOutside, kWaiting, kInside };
  struct Training {
    int64_t id = 0;
    StepMember member;
    Place place = Place::kOutside;
    const StepInput* input = nullptr;  // of the step it wants
    model::Losses losses;              // of its last step
    std::exception_ptr failure;
  };
  // Members whose models can be one (resident_step.h), and their steps.
  struct Group {
    std::vector<int64_t> ids;
    std::unique_ptr<StepGraphs> graphs;
  };
  using Lock = std::unique_lock<std::mutex>;

  Training& Find(int64_t id);
  std::vector<Training*> Inside();
  bool MayBegin() const;
  bool EverybodyIsReady() const;
  // Steps whenever everybody is ready: the body of thread_.
  void StepAlways();
  void RunStep(const std::vector<Training*>& trainings);
  void Run(const std::vector<Training*>& group);
  // Drops the captured steps that a member is part of.
  void Forget(int64_t id);

  const at::Device device_;
  const OwnStream stream_;
  const int64_t seats_;
  const std::chrono::milliseconds patience_;
  mutable std::mutex mutex_;
  std::condition_variable news_;
  // Under mutex_, but for what a step in progress uses, during which nobody changes it.
  std::vector<std::unique_ptr<Training>> trainings_;
  std::vector<Group> groups_;
  bool stepping_ = false, closing_ = false;
  int64_t next_id_ = 0, most_together_ = 0;
  std::chrono::steady_clock::time_point vacant_since_;
  // All steps are this thread's: captures want what a thread's first steps make for it.
  std::thread thread_;
};

}  // namespace mixrec::worker
