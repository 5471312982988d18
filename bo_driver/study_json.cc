#include <cmath>

#include "bo_driver/report.h"
#include "bo_driver/report_figures.h"
#include "bo_driver/study_definition.h"
#include "bo_driver/study_results.h"

namespace mixrec::bo_driver {
namespace {

using nlohmann::json;
using scheduler::GroupView;
using scheduler::StudyView;
using scheduler::TrialRecord;

json Optional(const std::optional<double>& value) { return value ? json(*value) : json(nullptr); }

json TrialJson(const TrialRecord& trial) {
  json curve = json::object();
  for (const auto& [epoch, score] : trial.intermediate_values) curve[StrCat(epoch)] = score;
  json object = {{"number", trial.number},
                 {"state", std::string(scheduler::TrialStateName(trial.state))},
                 {"value", Optional(trial.value)},
                 {"architecture", trial.Text(kBitsAttribute)},
                 {"source", trial.Text(kSourceAttribute)},
                 {"seconds", Optional(trial.Number(scheduler::kSecondsAttribute))},
                 {"started", trial.started},
                 {"completed", trial.completed},
                 {"scores", std::move(curve)}};
  const std::string group = scheduler::LeaseOf(trial).group;
  if (!trial.finished() && !group.empty()) object["group"] = group;
  const std::string reason = trial.Text(scheduler::kReasonAttribute);
  if (!reason.empty()) object["reason"] = reason;
  return object;
}

json GroupJson(const GroupView& group) {
  json object = scheduler::GroupToJson(group.record);
  object["name"] = group.record.name;
  object["trials"] = group.trials;
  object["results"] = group.results;
  object["silent_seconds"] = Optional(group.silent_seconds);
  return object;
}

json BitJson(int bit) { return {{"layer", bit / 3}, {"adapter", kKinds[bit % 3]}}; }

json ModelJson(const StudyModel& model) {
  json effects = json::array(), interactions = json::array();
  for (size_t bit = 0; bit < model.effects.size(); ++bit) {
    json effect = BitJson(static_cast<int>(bit));
    effect["mean"] = model.effects[bit].mean;
    effect["standard_error"] = model.effects[bit].standard_error;
    effects.push_back(std::move(effect));
  }
  for (const Interaction& pair : model.interactions) {
    interactions.push_back({{"first", BitJson(pair.first)},
                            {"second", BitJson(pair.second)},
                            {"mean", pair.mean},
                            {"standard_error", pair.standard_error}});
  }
  return {{"kernel", model.summary.kernel},
          {"leave_one_out_r2", model.summary.leave_one_out_r2},
          {"noise_variance", model.summary.noise_variance},
          {"effects", std::move(effects)},
          {"interactions", std::move(interactions)}};
}

}  // namespace

json StudyJson(const StudyView& view, const StudyModel* model) {
  json trials = json::array(), groups = json::array();
  for (const TrialRecord& trial : view.study.trials) trials.push_back(TrialJson(trial));
  for (const GroupView& group : view.groups) groups.push_back(GroupJson(group));
  json best = nullptr;
  if (const TrialRecord* trial = WinnerOf(view.study); trial != nullptr) {
    const TrialResult result = ResultOf(view.study, *trial);
    best = {{"trial", trial->number},
            {"value", result.value},
            {"evaluations", result.evaluations},
            {"architecture", trial->Text(kBitsAttribute)}};
  }
  json study = {{"name", view.study.name},
                {"phase", scheduler::StudyPhaseName(view.status.phase)},
                {"reason", view.status.reason},
                {"records", view.study.records},
                {"counts",
                 {{"wanted", view.wanted},
                  {"finished", view.finished},
                  {"complete", view.complete},
                  {"pruned", view.pruned},
                  {"failed", view.failed},
                  {"running", view.running},
                  {"waiting", view.waiting}}},
                {"best", std::move(best)},
                {"seconds_left", Optional(view.seconds_left)},
                {"groups", std::move(groups)},
                {"trials", std::move(trials)}};
  if (model != nullptr && model->fitted()) study["model"] = ModelJson(*model);
  return study;
}

}  // namespace mixrec::bo_driver
