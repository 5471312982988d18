#include "absl/strings/str_format.h"
#include "common/log.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/flags_cf.h"
#include "launch/flags_ranks.h"
#include "launch/materials.h"
#include "launch/plan.h"
#include "launch/servers.h"
#include "launch/table_systems.h"

namespace mixrec::launch {
namespace {

// Where the tables of this run live.
absl::StatusOr<worker::Placement> MakePlacement(const RunFolder& run, const Ranks& ranks,
                                                std::unique_ptr<ps::Session>* session) {
  MIXREC_ASSIGN_OR_RETURN(const bool servers, UsesServers());
  if (!servers) return worker::Placement();
  MIXREC_ASSIGN_OR_RETURN(*session, OpenServers(run.id(), ranks));
  return worker::Placement{session->get(), SamplingOfFlags()};
}

absl::Status Train(const Invocation& invocation, Materials* materials, RunFolder* run,
                   const worker::Placement& placement, Ranks* ranks) {
  MIXREC_ASSIGN_OR_RETURN(collective::Group* const group,
                          ranks->GroupOn(materials->compute.device));
  MIXREC_RETURN_IF_ERROR(LoadCatalogueInto(run->path(), materials, *ranks));
  MIXREC_ASSIGN_OR_RETURN(worker::TrainOptions options, TrainOptionsOfFlags(FLAGS_epochs));
  if (FLAGS_resume != "auto" && FLAGS_resume != "none") options.resume = FLAGS_resume;
  options.log_steps = FLAGS_log_steps;
  options.checkpoint_steps = FLAGS_checkpoint_steps;
  options.checkpoint_minutes = FLAGS_checkpoint_minutes;
  options.progress = ranks->leads();
  options.cf_folder = FLAGS_cf;
  options.profile = FLAGS_profile;
  options.padding = PaddingOfFlags();
  options.allow_changed_options = !FLAGS_resume_allow.empty();
  worker::TrainInputs inputs = InputsOf(*materials);
  inputs.placement = placement;
  inputs.group = group;
  MIXREC_ASSIGN_OR_RETURN(
      const std::unique_ptr<worker::Trainer> trainer,
      worker::Trainer::Create(inputs, materials->options, options, run->path()));
  std::ostream& out = *invocation.out;
  out << "training " << FLAGS_mode << " with architecture " << materials->options.architecture
      << " on " << Describe(materials->compute);
  if (ranks->size() > 1) out << ", " << ranks->size() << " ranks";
  out << ": " << trainer->total_steps() << " steps";
  if (trainer->first_step() > 0) out << ", going on after step " << trainer->first_step();
  out << std::endl;
  MIXREC_ASSIGN_OR_RETURN(const worker::TrainResult result, trainer->Run());
  out << absl::StrFormat("best validation MRR %.6f after epoch %d (%.1f s)\n", result.best_mrr,
                         result.best_epoch, result.seconds)
      << "run: " << run->path() << " (next: mixrec evaluate --run=" << run->path() << ")"
      << std::endl;
  return run->Record("result", {{"best_epoch", result.best_epoch},
                                {"best_validation_mrr", result.best_mrr},
                                {"validation_mrr", result.validation_mrr},
                                {"steps", result.steps},
                                {"epochs", result.epochs}});
}

// Trains, and leaves nothing on the servers once a checkpoint holds everything.
absl::Status TrainSomewhere(const Invocation& invocation, Materials* materials, RunFolder* run,
                            Ranks* ranks) {
  std::unique_ptr<ps::Session> session;
  MIXREC_ASSIGN_OR_RETURN(const worker::Placement placement, MakePlacement(*run, *ranks, &session));
  const absl::Status status = Train(invocation, materials, run, placement, ranks);
  if (session != nullptr && ranks->leads() && (status.ok() || absl::IsCancelled(status))) {
    const absl::Status dropped = session->Drop();
    if (!dropped.ok()) LOG(WARNING) << "the tables stay on the servers: " << dropped.message();
  }
  return status;
}

// What is read before there is a run.
absl::StatusOr<std::unique_ptr<Materials>> LoadInputs(const Invocation& invocation) {
  MIXREC_ASSIGN_OR_RETURN(std::unique_ptr<Materials> materials, LoadMaterials(invocation.out));
  if (FLAGS_dry_run) return materials;
  MIXREC_RETURN_IF_ERROR(RequireFlag("out", FLAGS_out));
  MIXREC_RETURN_IF_ERROR(LoadHardSamplesInto(materials.get()));
  MIXREC_RETURN_IF_ERROR(FindCfInto(materials.get()));
  MIXREC_RETURN_IF_ERROR(LoadBackboneInto(materials.get()));
  return materials;
}

absl::Status TrainAmong(const Invocation& invocation, Ranks* ranks) {
  MIXREC_RETURN_IF_ERROR(UsesServers().status());
  if (FLAGS_architecture == kSearched) {
    return UsageError(
        "--architecture=searched is for `mixrec table`, which puts a search's result "
        "there; give the bits, or --flagfile=STUDY/best.flags");
  }
  const absl::StatusOr<std::unique_ptr<Materials>> loaded = LoadInputs(invocation);
  MIXREC_RETURN_IF_ERROR(ranks->Agree(loaded.status(), "loading the data"));
  Materials* const materials = loaded->get();
  if (FLAGS_dry_run) {
    MIXREC_RETURN_IF_ERROR(LoadCatalogueInto("", materials, *ranks));
    const size_t users = data::TrainableUsers(materials->dataset).size();
    PrintPlan(invocation, *materials, FLAGS_epochs, static_cast<int64_t>(users));
    return absl::OkStatus();
  }
  MIXREC_ASSIGN_OR_RETURN(RunFolder run, OpenRun(invocation, *materials, *ranks));
  return run.Close(TrainSomewhere(invocation, materials, &run, ranks));
}

}  // namespace

absl::Status RunTrain(const Invocation& invocation) {
  return RunAmongRanks(invocation, TrainAmong);
}

}  // namespace mixrec::launch
