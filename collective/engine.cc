#include "collective/engine.h"

#include <algorithm>
#include <utility>

#include "common/log.h"

namespace mixrec::collective {
namespace {

constexpr auto kCheckEvery = std::chrono::milliseconds(100);
constexpr auto kIdlePoll = std::chrono::milliseconds(5);
constexpr int kDeadChecks = 5;  // a process may end when its last message is on its way
constexpr int kSpins = 200;     // tries before the core is given to others
constexpr int kShortestRest = 20, kLongestRest = 500;  // microseconds

std::string Join(const std::vector<std::string>& names) {
  constexpr size_t kMost = 4;
  std::string text;
  for (size_t k = 0; k < names.size() && k < kMost; ++k) {
    text += StrCat(k == 0 ? "" : ", ", names[k]);
  }
  if (names.size() > kMost) text += StrCat(" and ", names.size() - kMost, " more");
  return text;
}

}  // namespace

Engine::Engine(TransportFactory factory)
    : factory_(std::move(factory)), up_(up_promise_.get_future()), thread_([this] { Run(); }) {}

Engine::~Engine() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stops_ = true;
  }
  work_.notify_all();
  abandoned_ ? thread_.detach() : thread_.join();
}

absl::Status Engine::WaitUntilUp(double seconds) {
  if (up_.wait_for(std::chrono::duration<double>(seconds)) != std::future_status::ready) {
    Abandon();
    return FailureError("MPI did not start within ", seconds,
                        " s: a process of this mpirun is missing or stuck");
  }
  return up_.get();
}

Engine::Ticket Engine::Start(Task task) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Ticket ticket = ++last_ticket_;
  if (!failure_.ok()) {
    finished_[ticket] = failure_;
    return ticket;
  }
  const auto patience = std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(task.patience_seconds));
  new_.push_back({ticket, std::move(task), Clock::now() + patience});
  work_.notify_one();
  return ticket;
}

absl::Status Engine::Wait(Ticket ticket) {
  std::unique_lock<std::mutex> lock(mutex_);
  done_.wait(lock, [&] { return finished_.count(ticket) > 0; });
  const absl::Status status = finished_[ticket];
  finished_.erase(ticket);
  return status;
}

void Engine::Fail(const absl::Status& reason, const std::string& who) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!failure_.ok()) return;
    const std::string text(reason.message().data(), reason.message().size());
    failure_ = who.empty() ? reason : absl::Status(reason.code(), StrCat(who, ": ", text));
  }
  work_.notify_one();
}

absl::Status Engine::failure() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return failure_;
}

void Engine::set_is_alive(std::function<bool(int)> is_alive) {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_alive_ = std::move(is_alive);
}
void Engine::set_on_failure(std::function<void()> on_failure) {
  const std::lock_guard<std::mutex> lock(mutex_);
  on_failure_ = std::move(on_failure);
}
void Engine::set_watch(std::function<absl::Status()> watch) {
  const std::lock_guard<std::mutex> lock(mutex_);
  watch_ = std::move(watch);
}
void Engine::set_progress(std::function<int64_t()> progress) {
  const std::lock_guard<std::mutex> lock(mutex_);
  progress_ = std::move(progress);
}

void Engine::Run() {
  absl::StatusOr<std::unique_ptr<Transport>> transport = factory_();
  up_promise_.set_value(transport.status());
  if (!transport.ok()) return;
  transport_ = transport->get();
  Loop(transport_);
}

void Engine::Loop(Transport* transport) {
  int idle = 0, rest = kShortestRest;
  Clock::time_point next_check = Clock::now();
  while (true) {
    TakeNew();
    HandleControl(transport);
    const bool moved = AdvanceAll(transport);
    if (Clock::now() >= next_check) {
      CheckPatience();
      next_check = Clock::now() + kCheckEvery;
    }
    TellFailure(transport);
    if (moved) {
      idle = 0;
      rest = kShortestRest;
      continue;
    }
    if (active_.empty()) {
      std::unique_lock<std::mutex> lock(mutex_);
      if (stops_) return;
      if (new_.empty()) work_.wait_for(lock, kIdlePoll);
      idle = 0;
      continue;
    }
    if (++idle < kSpins) continue;
    transport->Idle(rest);
    rest = std::min(2 * rest, kLongestRest);
  }
}

void Engine::TakeNew() {
  std::vector<Active> fresh;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    fresh.swap(new_);
  }
  for (Active& active : fresh) active_.push_back(std::move(active));
}

bool Engine::AdvanceAll(Transport* transport) {
  bool moved = false;
  for (auto active = active_.begin(); active != active_.end();) {
    const absl::StatusOr<bool> done = active->task.operation->Advance(transport, &moved);
    if (!done.ok()) {
      Fail(FailureError(active->task.what, ": ", done.status().message()), "");
      return true;
    }
    if (!*done) {
      ++active;
      continue;
    }
    Complete(active->ticket, absl::OkStatus());
    active = active_.erase(active);
  }
  return moved;
}

void Engine::Complete(Ticket ticket, const absl::Status& status) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    finished_[ticket] = status;
  }
  done_.notify_all();
}

absl::Status Engine::TooLate(const Active& active) const {
  std::vector<std::string> names;
  for (const int rank : active.task.operation->Missing()) names.push_back(active.task.name(rank));
  return FailureError(Join(names), " did not come to ", active.task.what, " in ",
                      active.task.patience_seconds, " s");
}

bool Engine::IsAlive(int world_rank) const {
  std::function<bool(int)> is_alive;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_alive = is_alive_;
  }
  return !is_alive || is_alive(world_rank);
}

bool Engine::SomebodyIsDead(Active* active, std::string* who) const {
  for (const int rank : active->task.operation->Missing()) {
    if (IsAlive(active->task.world_ranks[static_cast<size_t>(rank)])) continue;
    *who = active->task.name(rank);
    return ++active->dead_checks >= kDeadChecks;
  }
  active->dead_checks = 0;
  return false;
}

void Engine::CheckPatience() {
  if (!failure().ok()) return;
  const Clock::time_point now = Clock::now();
  for (Active& active : active_) {
    std::string who;
    if (now > active.deadline) return Fail(TooLate(active), "");
    if (SomebodyIsDead(&active, &who)) {
      return Fail(FailureError(who, " has died; ", active.task.what, " cannot go on"), "");
    }
  }
  std::function<absl::Status()> watch;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    watch = watch_;
  }
  if (!watch) return;
  const absl::Status status = watch();
  if (!status.ok()) Fail(status, "");
}

}  // namespace mixrec::collective
