// Private to collective/: the thread that moves the messages of all operations of a process.
//
// It alone touches the transport, so that an MPI without thread support serves as well. Operations
// of all groups go on at the same time, in the order of their starts where the network lets them.
#pragma once

#include <ATen/ATen.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "collective/operation.h"
#include "collective/transport.h"
#include "common/status.h"

namespace mixrec::collective {

class Engine {
 public:
  // Runs in the engine's thread, as does the transport's destructor.
  using TransportFactory = std::function<absl::StatusOr<std::unique_ptr<Transport>>()>;
  using Ticket = uint64_t;

  struct Task {
    std::unique_ptr<Operation> operation;
    std::string what;
    double patience_seconds = 60;
    // The names of members by their ranks in the operation's group, for messages.
    std::function<std::string(int)> name;
    std::vector<int> world_ranks;     // of the members
    std::vector<at::Tensor> tensors;  // whose memory it works in: kept until it is over
  };

  explicit Engine(TransportFactory factory);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();  // the transport goes first

  // The transport stands, or why not. Once.
  absl::Status WaitUntilUp(double seconds);

  Ticket Start(Task task);
  absl::Status Wait(Ticket ticket);

  // Any thread. Everybody else in the world is told; the first reason counts.
  void Fail(const absl::Status& reason, const std::string& who);
  absl::Status failure() const;
  // After a failure: returns when the others have been told, or soon.
  void WaitUntilTold();

  // Whether a process of the world is there; asked, every so often, for those that are waited for.
  // Null: nobody knows.
  void set_is_alive(std::function<bool(int)> is_alive);

  bool IsAlive(int world_rank) const;

  // Called in the engine's thread when the world fails, before anybody else learns of it; at once
  // if it has.
  void set_on_failure(std::function<void()> on_failure);
  // Called in the engine's thread several times a second: operations that run elsewhere (on a GPU)
  // are looked after there. A failure it returns is the world's.
  void set_watch(std::function<absl::Status()> watch);
  // Operations that were started elsewhere: what others are told when they ask.
  void set_progress(std::function<int64_t()> progress);
  // Asks everybody how far they are: by world rank, -1 where no answer came within the time. Only
  // from within `watch`.
  std::vector<int64_t> AskProgress(double seconds);

  // The transport of a world that has failed may never come back from its end: leaves it, and its
  // thread, as they are.
  void Abandon() { abandoned_ = true; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Active {
    Ticket ticket;
    Task task;
    Clock::time_point deadline;
    int dead_checks = 0;
  };

  void Run();
  void Loop(Transport* transport);
  void TakeNew();
  // Whether something moved.
  bool AdvanceAll(Transport* transport);
  void CheckPatience();
  bool SomebodyIsDead(Active* active, std::string* who) const;
  void Complete(Ticket ticket, const absl::Status& status);
  void HandleControl(Transport* transport);
  void TellFailure(Transport* transport);
  void TellOthers(Transport* transport, const absl::Status& failure);
  absl::Status TooLate(const Active& active) const;

  TransportFactory factory_;
  Transport* transport_ = nullptr;  // in the thread
  std::promise<absl::Status> up_promise_;
  std::future<absl::Status> up_;
  std::list<Active> active_;        // in the thread
  std::list<Active> given_up_;      // in the thread
  std::map<int, int64_t> answers_;  // in the thread
  bool failure_came_from_afar_ = false;

  mutable std::mutex mutex_;
  std::condition_variable work_, done_;
  std::vector<Active> new_;  // under mutex_, as all below
  std::map<Ticket, absl::Status> finished_;
  Ticket last_ticket_ = 0;
  absl::Status failure_;
  bool told_ = false;  // the failure went out
  bool stops_ = false;
  std::function<bool(int)> is_alive_;
  std::function<void()> on_failure_;
  std::function<absl::Status()> watch_;
  std::function<int64_t()> progress_;

  bool abandoned_ = false;
  std::thread thread_;
};

}  // namespace mixrec::collective
