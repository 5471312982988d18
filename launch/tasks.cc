#include "launch/tasks.h"

#include <poll.h>

#include <chrono>
#include <csignal>
#include <memory>

#include "common/log.h"
#include "common/stop_signal.h"
#include "launch/child_process.h"

namespace mixrec::launch {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPollMilliseconds = 200;  // between two looks for a stop request

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

enum class State { kWaiting, kRunning, kDone, kFailed };

// Where one task at a time runs.
struct Slot {
  int task = -1;
  size_t command = 0;
  Clock::time_point started;
  std::unique_ptr<ChildProcess> process;
};

class TaskRun {
 public:
  TaskRun(const std::vector<Task>& tasks, const TaskOptions& options, const TaskEnd& on_end)
      : tasks_(tasks),
        options_(options),
        on_end_(on_end),
        states_(tasks.size(), State::kWaiting),
        slots_(static_cast<size_t>(options.jobs)) {}

  absl::Status Run() {
    while (true) {
      if (StopRequested()) return Stop();
      MIXREC_RETURN_IF_ERROR(FillSlots());
      if (!Wait()) return absl::OkStatus();
      MIXREC_RETURN_IF_ERROR(Reap());
    }
  }

 private:
  // The next task that may start; those whose `after` failed fail on the way. -1: none now.
  absl::StatusOr<int> NextTask() {
    for (size_t index = 0; index < tasks_.size(); ++index) {
      if (states_[index] != State::kWaiting) continue;
      const int after = tasks_[index].after;
      const State before = after < 0 ? State::kDone : states_[static_cast<size_t>(after)];
      if (before == State::kDone) return static_cast<int>(index);
      if (before != State::kFailed) continue;
      states_[index] = State::kFailed;
      MIXREC_RETURN_IF_ERROR(
          on_end_(index, FailureError(tasks_[static_cast<size_t>(after)].name, " failed"), 0));
    }
    return -1;
  }

  absl::Status FillSlots() {
    for (Slot& slot : slots_) {
      while (slot.task < 0) {
        MIXREC_ASSIGN_OR_RETURN(const int task, NextTask());
        if (task < 0) break;
        slot.task = task;
        slot.command = 0;
        slot.started = Clock::now();
        states_[static_cast<size_t>(task)] = State::kRunning;
        MIXREC_RETURN_IF_ERROR(StartCommand(&slot));
      }
    }
    return absl::OkStatus();
  }

  // The slot's next command; its task ends when there is none.
  absl::Status StartCommand(Slot* slot) {
    const Task& task = tasks_[static_cast<size_t>(slot->task)];
    if (slot->command == task.commands.size()) return End(slot, absl::OkStatus());
    const absl::StatusOr<std::vector<std::string>> words = task.commands[slot->command]();
    if (!words.ok()) return End(slot, words.status());
    ChildCommand command{*words, task.log, ""};
    if (!options_.devices.empty()) {
      const auto index = static_cast<size_t>(slot - slots_.data());
      command.visible_devices = options_.devices[index % options_.devices.size()];
    }
    absl::StatusOr<std::unique_ptr<ChildProcess>> process = ChildProcess::Start(command);
    if (!process.ok()) return End(slot, process.status());
    slot->process = std::move(*process);
    return absl::OkStatus();
  }

  absl::Status End(Slot* slot, const absl::Status& outcome) {
    const auto task = static_cast<size_t>(slot->task);
    states_[task] = outcome.ok() ? State::kDone : State::kFailed;
    slot->task = -1;
    slot->process.reset();
    return on_end_(task, outcome, SecondsSince(slot->started));
  }

  // Until a process ends or a moment has passed. False when none runs.
  bool Wait() {
    std::vector<pollfd> handles;
    for (const Slot& slot : slots_) {
      if (slot.process != nullptr) handles.push_back({slot.process->handle(), POLLIN, 0});
    }
    if (handles.empty()) return false;
    ::poll(handles.data(), handles.size(), kPollMilliseconds);
    return true;
  }

  absl::Status Reap() {
    for (Slot& slot : slots_) {
      absl::Status outcome;
      if (slot.process == nullptr || !slot.process->HasEnded(&outcome)) continue;
      slot.process.reset();
      if (!outcome.ok()) {
        MIXREC_RETURN_IF_ERROR(End(&slot, outcome));
        continue;
      }
      ++slot.command;
      const bool done = slot.command == tasks_[static_cast<size_t>(slot.task)].commands.size();
      if (StopRequested() && !done) {  // the task goes on another time
        MIXREC_RETURN_IF_ERROR(End(&slot, StoppedError("stopped on request")));
      } else {
        MIXREC_RETURN_IF_ERROR(StartCommand(&slot));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Stop() {
    for (const Slot& slot : slots_) {
      if (slot.process != nullptr) slot.process->Signal(SIGTERM);
    }
    const Clock::time_point start = Clock::now();
    while (Wait()) {
      if (SecondsSince(start) > options_.grace_seconds) {
        for (const Slot& slot : slots_) {
          if (slot.process != nullptr) slot.process->Signal(SIGKILL);
        }
      }
      MIXREC_RETURN_IF_ERROR(Reap());
    }
    return StoppedError("stopped on request; the same command goes on from there");
  }

  const std::vector<Task>& tasks_;
  const TaskOptions options_;
  const TaskEnd& on_end_;
  std::vector<State> states_;
  std::vector<Slot> slots_;
};

}  // namespace

absl::Status RunTasks(const std::vector<Task>& tasks, const TaskOptions& options,
                      const TaskEnd& on_end) {
  CHECK(options.jobs >= 1);
  return TaskRun(tasks, options, on_end).Run();
}

}  // namespace mixrec::launch
