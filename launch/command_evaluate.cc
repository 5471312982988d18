#include "absl/strings/str_format.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/trained_model.h"
#include "worker/evaluator.h"

namespace mixrec::launch {

absl::Status RunEvaluate(const Invocation& invocation) {
  std::ostream& out = *invocation.out;
  MIXREC_ASSIGN_OR_RETURN(TrainedModel trained, LoadTrainedModel(invocation, &out));
  out << "checkpoint: " << trained.checkpoint << " (epoch " << trained.model.epoch << ", step "
      << trained.model.step << ")" << std::endl;
  worker::EvaluationOptions options;
  options.split = FLAGS_split == "test" ? data::Split::kTest : data::Split::kValidation;
  options.mask_seen = FLAGS_mask_seen;
  options.max_items = trained.model.card.max_items;
  MIXREC_ASSIGN_OR_RETURN(const worker::EvaluationResult result,
                          worker::Evaluate(trained.materials->dataset, trained.materials->catalogue,
                                           options, trained.model.state.get()));
  MIXREC_RETURN_IF_ERROR(DropTables(&trained));
  if (!FLAGS_ranks_out.empty()) {
    MIXREC_RETURN_IF_ERROR(worker::WriteRanks(trained.materials->dataset, result, FLAGS_ranks_out));
  }
  nlohmann::ordered_json line = worker::ToJson(result);
  line["protocol"]["min_item_interactions"] = FLAGS_min_item_interactions;
  line["protocol"]["checkpoint"] = FLAGS_checkpoint;
  out << FLAGS_split << ": " << worker::ProtocolText(result) << "\n"
      << absl::StrFormat("%d users in %.1f s\n", result.sums.users, result.seconds) << line.dump()
      << std::endl;
  return absl::OkStatus();
}

}  // namespace mixrec::launch
