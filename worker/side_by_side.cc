#include "worker/side_by_side.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>

#include "common/log.h"

namespace mixrec::worker {
namespace {

using Clock = std::chrono::steady_clock;

void FinishLaunched(at::Device device) {
  if (device.is_cpu()) return;
  c10::impl::VirtualGuardImpl(device.type()).getStream(device).synchronize();
}

bool CanBeOne(const StepMember& a, const StepMember& b) {
  const model::ModelOptions &of_a = a.state->options(), &of_b = b.state->options();
  return of_a.mode == of_b.mode && of_a.replace_every == of_b.replace_every;
}

}  // namespace

SideBySide::SideBySide(at::Device device, int64_t seats, std::chrono::milliseconds patience)
    : device_(device),
      stream_(device),
      seats_(seats),
      patience_(patience),
      vacant_since_(Clock::now()),
      thread_([this] { StepAlways(); }) {}

SideBySide::~SideBySide() {
  {
    const Lock lock(mutex_);
    CHECK(trainings_.empty()) << "trainings outlive their company";
    closing_ = true;
    news_.notify_all();
  }
  thread_.join();
}

int64_t SideBySide::most_together() const {
  const Lock lock(mutex_);
  return most_together_;
}

SideBySide::Training& SideBySide::Find(int64_t id) {
  const auto found = std::find_if(trainings_.begin(), trainings_.end(),
                                  [&](const auto& training) { return training->id == id; });
  CHECK(found != trainings_.end());
  return **found;
}

std::vector<SideBySide::Training*> SideBySide::Inside() {
  std::vector<Training*> inside;
  for (const auto& training : trainings_) {
    if (training->place == Place::kInside) inside.push_back(training.get());
  }
  return inside;
}

// Everybody waits, and nobody is likely to come.
bool SideBySide::MayBegin() const {
  const bool all_wait = std::all_of(trainings_.begin(), trainings_.end(), [](const auto& training) {
    return training->place == Place::kWaiting;
  });
  return all_wait && (static_cast<int64_t>(trainings_.size()) >= seats_ ||
                      Clock::now() - vacant_since_ >= patience_);
}

bool SideBySide::EverybodyIsReady() const {
  const auto is_inside = [](const auto& training) { return training->place == Place::kInside; };
  return std::any_of(trainings_.begin(), trainings_.end(), is_inside) &&
         std::all_of(trainings_.begin(), trainings_.end(), [&](const auto& training) {
           return !is_inside(training) || training->input != nullptr;
         });
}

void SideBySide::StepAlways() {
  Lock lock(mutex_);
  while (true) {
    news_.wait(lock, [this] { return closing_ || EverybodyIsReady(); });
    if (closing_) return;
    const std::vector<Training*> inside = Inside();
    stepping_ = true;
    lock.unlock();
    RunStep(inside);
    lock.lock();
    stepping_ = false;
    for (Training* training : inside) training->input = nullptr;
    news_.notify_all();
  }
}

void SideBySide::RunStep(const std::vector<Training*>& trainings) {
  std::vector<Training*> rest = trainings;
  while (!rest.empty()) {
    const StepMember first = rest.front()->member;
    const auto others = std::stable_partition(
        rest.begin(), rest.end(),
        [&](const Training* training) { return CanBeOne(first, training->member); });
    const std::vector<Training*> group(rest.begin(), others);
    rest.erase(rest.begin(), others);
    try {
      Run(group);
    } catch (...) {
      for (Training* training : group) {
        training->failure = std::current_exception();
        Forget(training->id);
      }
    }
  }
}

void SideBySide::Run(const std::vector<Training*>& group) {
  const StreamScope scope = stream_.Enter();
  std::vector<int64_t> ids;
  std::vector<StepMember> members;
  std::vector<StepInput> inputs;
  for (const Training* training : group) {
    ids.push_back(training->id);
    members.push_back(training->member);
    inputs.push_back(*training->input);
  }
  auto known = std::find_if(groups_.begin(), groups_.end(),
                            [&](const Group& known) { return known.ids == ids; });
  if (known == groups_.end()) {
    for (const int64_t id : ids) Forget(id);
    groups_.push_back({ids, std::make_unique<StepGraphs>(members, StepGraphOptions())});
    known = std::prev(groups_.end());
  }
  const std::vector<model::Losses> losses = known->graphs->Run(inputs);
  for (size_t i = 0; i < group.size(); ++i) group[i]->losses = losses[i];
}

void SideBySide::Forget(int64_t id) {
  const StreamScope scope = stream_.Enter();
  groups_.erase(std::remove_if(groups_.begin(), groups_.end(),
                               [&](const Group& group) {
                                 return std::count(group.ids.begin(), group.ids.end(), id) > 0;
                               }),
                groups_.end());
}

SideBySide::Seat::Seat(SideBySide* all, const StepMember& member) : all_(all) {
  const Lock lock(all_->mutex_);
  auto training = std::make_unique<Training>();
  training->id = id_ = all_->next_id_++;
  training->member = member;
  all_->trainings_.push_back(std::move(training));
}

SideBySide::Seat::~Seat() {
  Lock lock(all_->mutex_);
  all_->news_.wait(lock, [this] { return !all_->stepping_; });
  CHECK(all_->Find(id_).place != Place::kInside);
  all_->Forget(id_);
  auto& trainings = all_->trainings_;
  trainings.erase(std::remove_if(trainings.begin(), trainings.end(),
                                 [&](const auto& training) { return training->id == id_; }),
                  trainings.end());
  all_->vacant_since_ = Clock::now();
  all_->news_.notify_all();
}

void SideBySide::Seat::Enter() {
  FinishLaunched(all_->device_);
  Lock lock(all_->mutex_);
  Training& own = all_->Find(id_);
  own.place = Place::kWaiting;
  while (own.place == Place::kWaiting) {
    if (all_->MayBegin()) {
      for (const auto& training : all_->trainings_) training->place = Place::kInside;
      all_->most_together_ =
          std::max(all_->most_together_, static_cast<int64_t>(all_->trainings_.size()));
      all_->news_.notify_all();
      return;
    }
    all_->news_.wait_until(lock, std::max(all_->vacant_since_ + all_->patience_,
                                          Clock::now() + std::chrono::milliseconds(50)));
  }
}

void SideBySide::Seat::Leave() {
  const Lock lock(all_->mutex_);
  all_->Find(id_).place = Place::kOutside;
  all_->news_.notify_all();
}

model::Losses SideBySide::Seat::Step(const StepInput& input) {
  Lock lock(all_->mutex_);
  Training& own = all_->Find(id_);
  CHECK(own.place == Place::kInside) << "a step outside Enter and Leave";
  own.input = &input;
  own.failure = nullptr;
  all_->news_.notify_all();
  all_->news_.wait(lock, [&] { return own.input == nullptr; });
  if (own.failure) std::rethrow_exception(own.failure);
  return own.losses;
}

}  // namespace mixrec::worker
