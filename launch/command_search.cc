#include <cmath>

#include "common/file.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/materials.h"
#include "launch/search_loop.h"
#include "launch/study_flags.h"
#include "model/architecture.h"
#include "worker/search_objective.h"

namespace mixrec::launch {
namespace {

absl::StatusOr<bo_driver::Study> OpenStudy(const Materials& materials, const RunFolder& run) {
  bo_driver::StudyOptions options;
  options.layers = model::DamoeLayers(static_cast<int>(materials.config.layers),
                                      materials.options.replace_every);
  options.trials = static_cast<int>(FLAGS_trials);
  options.seed = static_cast<uint64_t>(FLAGS_seed);
  MIXREC_ASSIGN_OR_RETURN(options.method, bo_driver::ParseMethod(FLAGS_method));
  options.settings = {{"data", materials.dataset.content_hash()},
                      {"backbone", materials.backbone.content_hash},
                      {"trial_epochs", StrCat(FLAGS_trial_epochs)},
                      {"bo_fraction", StrCat(FLAGS_bo_fraction)}};
  if (materials.hard_samples != nullptr) {
    options.settings["hard_samples"] = materials.hard_samples->content_hash();
  }
  return bo_driver::Study::OpenOrCreate(run.path(), options);
}

absl::StatusOr<worker::SearchObjective> MakeObjective(const Materials& materials,
                                                      const RunFolder& run) {
  worker::SearchObjectiveOptions options;
  MIXREC_ASSIGN_OR_RETURN(options.train, TrainOptionsOfFlags(FLAGS_trial_epochs));
  options.fraction = FLAGS_bo_fraction;
  options.folder = run.File("trials");
  MIXREC_RETURN_IF_ERROR(MakeFolder(options.folder));
  model::ModelOptions model = materials.options;
  model.architecture.clear();
  return worker::SearchObjective(InputsOf(materials), model, options);
}

// What the search found: the table, best.flags, the report.
absl::Status Conclude(const Invocation& invocation, const bo_driver::Study& study, RunFolder* run) {
  MIXREC_RETURN_IF_ERROR(study.WriteReport());
  const std::optional<bo_driver::TrialResult> best = study.best();
  if (!best) return FailureError("no trial finished; ", run->File("study.journal"), " says why");
  const std::string comment = StrCat("Best of ", study.finished(), " trials: trial ", best->number,
                                     ", validation MRR ", best->value);
  MIXREC_RETURN_IF_ERROR(
      WriteFileAtomic(run->File("best.flags"), BestFlags(invocation, best->bits, comment)));
  *invocation.out << "\n"
                  << study.BestTable(10) << "\nbest flags: " << run->File("best.flags")
                  << " (next: mixrec train --flagfile=" << run->File("best.flags")
                  << " --out=RUN)\nreport: " << run->File("report.html") << std::endl;
  return run->Record("result", {{"best_trial", best->number},
                                {"best_architecture", best->bits},
                                {"best_value", best->value},
                                {"finished", study.finished()},
                                {"failed", study.failed()}});
}

// A trial's folder says what ran, as that of `mixrec train` does; it keeps no weights.
RunRequest TrialRequest(const Invocation& invocation, const Materials& materials,
                        const bo_driver::Trial& trial, const std::string& folder) {
  RunRequest request = RequestOf(invocation, materials);
  request.folder = folder;
  request.verb = "train";
  request.resume = "auto";
  for (auto flag = request.flags.begin(); flag != request.flags.end();) {
    flag =
        invocation.table->Takes("train", flag->first) ? std::next(flag) : request.flags.erase(flag);
  }
  request.flags["architecture"] = trial.bits;
  request.flags["epochs"] = StrCat(FLAGS_trial_epochs);
  request.flags["out"] = folder;
  return request;
}

absl::Status Search(const Invocation& invocation, Materials* materials, RunFolder* run) {
  MIXREC_RETURN_IF_ERROR(LoadCatalogueInto(run->path(), materials));
  MIXREC_ASSIGN_OR_RETURN(worker::SearchObjective objective, MakeObjective(*materials, *run));
  MIXREC_ASSIGN_OR_RETURN(bo_driver::Study study, OpenStudy(*materials, *run));
  *invocation.out << "searching on " << Describe(materials->compute) << ": "
                  << objective.users().size() << " users a trial, " << study.finished() << " of "
                  << FLAGS_trials << " trials finished" << std::endl;
  const auto evaluate = [&](const bo_driver::Trial& trial) -> absl::StatusOr<double> {
    const std::string folder = StrCat(run->File("trials"), "/trial-", trial.number);
    MIXREC_ASSIGN_OR_RETURN(RunFolder trial_run,
                            RunFolder::Open(TrialRequest(invocation, *materials, trial, folder)));
    absl::Status reported;
    const auto on_epoch = [&](int epoch, double mrr) {
      if (!std::isfinite(mrr)) return true;
      const absl::StatusOr<bool> goes_on = study.ReportIntermediate(trial.number, epoch, mrr);
      reported = goes_on.status();
      return goes_on.ok() && *goes_on;
    };
    const auto outcome = objective.Evaluate(trial.number, trial.bits, on_epoch);
    MIXREC_RETURN_IF_ERROR(trial_run.Close(outcome.status()));
    MIXREC_RETURN_IF_ERROR(reported);
    return outcome->value;
  };
  MIXREC_RETURN_IF_ERROR(RunTrials(&study, evaluate, *invocation.out));
  return Conclude(invocation, study, run);
}

}  // namespace

absl::Status RunSearch(const Invocation& invocation) {
  if (FLAGS_resume != "auto" && FLAGS_resume != "none") {
    return UsageError("--resume=", FLAGS_resume, ": a search takes auto or none");
  }
  MIXREC_ASSIGN_OR_RETURN(const std::unique_ptr<Materials> materials,
                          LoadMaterials(invocation.out));
  if (FLAGS_dry_run) {
    MIXREC_RETURN_IF_ERROR(LoadCatalogueInto("", materials.get()));
    const double users = static_cast<double>(data::TrainableUsers(materials->dataset).size());
    PrintPlan(invocation, *materials, FLAGS_trial_epochs,
              std::max<int64_t>(1, std::llround(users * FLAGS_bo_fraction)));
    *invocation.out << "trials: " << FLAGS_trials << std::endl;
    return absl::OkStatus();
  }
  MIXREC_RETURN_IF_ERROR(RequireFlag("out", FLAGS_out));
  MIXREC_RETURN_IF_ERROR(LoadHardSamplesInto(materials.get()));
  MIXREC_RETURN_IF_ERROR(LoadBackboneInto(materials.get()));
  MIXREC_ASSIGN_OR_RETURN(RunFolder run, OpenRun(invocation, *materials));
  return run.Close(Search(invocation, materials.get(), &run));
}

}  // namespace mixrec::launch
