// What the engines of a world say to each other beside the operations: failures, and how far they
// are.
#include <cstring>
#include <utility>

#include "collective/engine.h"
#include "common/log.h"

namespace mixrec::collective {
namespace {

constexpr auto kTelling = std::chrono::milliseconds(20);
constexpr int kRest = 500;  // microseconds

Control AbortControl(const absl::Status& reason) {
  Control control;
  control.kind = Control::Kind::kAbort;
  control.code = static_cast<int32_t>(reason.code());
  const std::string text(reason.message().data(), reason.message().size());
  std::strncpy(control.text, text.c_str(), sizeof(control.text) - 1);
  return control;
}

}  // namespace

void Engine::TellFailure(Transport* transport) {
  const absl::Status failure = this->failure();
  if (failure.ok()) return;
  std::function<void()> on_failure;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    on_failure.swap(on_failure_);
  }
  if (on_failure) on_failure();
  if (!told_) TellOthers(transport, failure);
  TakeNew();
  if (active_.empty()) return;
  transport->CancelReceipts();
  for (const Active& active : active_) Complete(active.ticket, failure);
  // What was sent may still be read.
  given_up_.splice(given_up_.end(), active_);
}

void Engine::TellOthers(Transport* transport, const absl::Status& failure) {
  if (!failure_came_from_afar_) {
    for (int rank = 0; rank < transport->size(); ++rank) {
      if (rank != transport->rank()) transport->SendControl(rank, AbortControl(failure));
    }
  }
  // Messages leave when the transport is called.
  const auto until = Clock::now() + kTelling;
  while (Clock::now() < until) {
    HandleControl(transport);
    transport->Idle(kRest);
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    told_ = true;
  }
  done_.notify_all();
}

void Engine::WaitUntilTold() {
  std::unique_lock<std::mutex> lock(mutex_);
  done_.wait_for(lock, 10 * kTelling, [&] { return told_ || failure_.ok(); });
}

void Engine::HandleControl(Transport* transport) {
  while (const auto message = transport->TakeControl()) {
    const auto& [from, control] = *message;
    if (control.kind == Control::Kind::kAbort) {
      failure_came_from_afar_ = failure().ok();
      const std::string text(control.text, ::strnlen(control.text, sizeof(control.text)));
      Fail(absl::Status(static_cast<absl::StatusCode>(control.code), text), "");
    } else if (control.kind == Control::Kind::kAsk) {
      std::function<int64_t()> progress;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        progress = progress_;
      }
      Control answer;
      answer.kind = Control::Kind::kAnswer;
      answer.value = progress ? progress() : 0;
      transport->SendControl(from, answer);
    } else {
      answers_[from] = control.value;
    }
  }
}

std::vector<int64_t> Engine::AskProgress(double seconds) {
  CHECK(transport_ != nullptr && std::this_thread::get_id() == thread_.get_id());
  answers_.clear();
  Control ask;
  ask.kind = Control::Kind::kAsk;
  const int ranks = transport_->size();
  for (int rank = 0; rank < ranks; ++rank) {
    if (rank != transport_->rank()) transport_->SendControl(rank, ask);
  }
  const auto until = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < until && static_cast<int>(answers_.size()) < ranks - 1) {
    HandleControl(transport_);
    transport_->Idle(kRest);
  }
  std::vector<int64_t> values(static_cast<size_t>(ranks), -1);
  for (const auto& [rank, value] : answers_) values[static_cast<size_t>(rank)] = value;
  return values;
}

}  // namespace mixrec::collective
