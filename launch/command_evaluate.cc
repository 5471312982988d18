#include "absl/strings/str_format.h"
#include "common/file.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/trained_model.h"
#include "worker/evaluator.h"

namespace mixrec::launch {
namespace {

struct Protocol {
  data::Split split = data::Split::kTest;
  bool mask_seen = false;
};

absl::StatusOr<std::vector<Protocol>> ProtocolsOfFlags(const Invocation& invocation) {
  if (!FLAGS_all) {
    return std::vector<Protocol>{
        {FLAGS_split == "test" ? data::Split::kTest : data::Split::kValidation, FLAGS_mask_seen}};
  }
  for (const char* flag : {"split", "mask_seen", "ranks_out"}) {
    if (invocation.IsGiven(flag)) return UsageError("--all goes without --", flag);
  }
  return std::vector<Protocol>{{data::Split::kValidation, false},
                               {data::Split::kValidation, true},
                               {data::Split::kTest, false},
                               {data::Split::kTest, true}};
}

// Prints one evaluation; its JSON line comes last, and is returned.
absl::StatusOr<std::string> EvaluateOnce(const Protocol& protocol, TrainedModel* trained,
                                         const Ranks& ranks, std::ostream& out) {
  worker::EvaluationOptions options;
  options.group = ranks.group();
  options.split = protocol.split;
  options.mask_seen = protocol.mask_seen;
  options.max_items = trained->model.card.max_items;
  MIXREC_ASSIGN_OR_RETURN(
      const worker::EvaluationResult result,
      worker::Evaluate(trained->materials->dataset, trained->materials->catalogue, options,
                       trained->model.state.get()));
  if (ranks.leads() && !FLAGS_ranks_out.empty()) {
    MIXREC_RETURN_IF_ERROR(
        worker::WriteRanks(trained->materials->dataset, result, FLAGS_ranks_out));
  }
  nlohmann::ordered_json line = worker::ToJson(result);
  line["protocol"]["min_item_interactions"] = FLAGS_min_item_interactions;
  line["protocol"]["checkpoint"] = FLAGS_checkpoint;
  out << worker::SplitName(protocol.split) << ": " << worker::ProtocolText(result) << "\n"
      << absl::StrFormat("%d users in %.1f s\n", result.sums.users, result.seconds) << line.dump()
      << std::endl;
  return line.dump() + "\n";
}

absl::Status EvaluateAmong(const Invocation& invocation, Ranks* ranks) {
  std::ostream& out = *invocation.out;
  MIXREC_ASSIGN_OR_RETURN(const std::vector<Protocol> protocols, ProtocolsOfFlags(invocation));
  MIXREC_ASSIGN_OR_RETURN(TrainedModel trained, LoadTrainedModel(invocation, &out, ranks));
  out << "checkpoint: " << trained.checkpoint << " (epoch " << trained.model.epoch << ", step "
      << trained.model.step << ")" << std::endl;
  std::string lines;
  for (const Protocol& protocol : protocols) {
    MIXREC_ASSIGN_OR_RETURN(const std::string line, EvaluateOnce(protocol, &trained, *ranks, out));
    lines += line;
  }
  MIXREC_RETURN_IF_ERROR(DropTables(&trained, *ranks));
  const bool writes = ranks->leads() && !FLAGS_json_out.empty();
  return ranks->Agree(writes ? WriteFileAtomic(FLAGS_json_out, lines) : absl::OkStatus(),
                      "writing the results");
}

}  // namespace

absl::Status RunEvaluate(const Invocation& invocation) {
  return RunAmongRanks(invocation, EvaluateAmong);
}

}  // namespace mixrec::launch
