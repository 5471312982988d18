#include "launch/servers.h"

#include "launch/flags.h"
#include "launch/flags_ranks.h"
#include "launch/options.h"

namespace mixrec::launch {
namespace {

absl::StatusOr<ps::Consistency> ConsistencyOfFlags() {
  if (FLAGS_consistency == "bsp") return ps::Consistency::kBsp;
  if (FLAGS_consistency == "ssp") return ps::Consistency::kSsp;
  if (FLAGS_consistency == "asp") return ps::Consistency::kAsp;
  return UsageError("--consistency=", FLAGS_consistency, " is not one of bsp, ssp, asp");
}

absl::Status DropWhatIsThere(const ps::SessionOptions& options) {
  MIXREC_ASSIGN_OR_RETURN(const std::unique_ptr<ps::Session> before, ps::Session::Open(options));
  return before->Drop();
}

}  // namespace

absl::StatusOr<bool> UsesServers() {
  const bool uses = !SplitList(FLAGS_ps).empty();
  if (!uses && FLAGS_sampled_softmax > 0) {
    return UsageError("--sampled_softmax=", FLAGS_sampled_softmax,
                      " needs parameter servers; name them with --ps");
  }
  if (FLAGS_staleness > 0 && FLAGS_consistency != "ssp") {
    return UsageError("--staleness=", FLAGS_staleness, " needs --consistency=ssp, not ",
                      FLAGS_consistency);
  }
  return uses;
}

ps::Sampling SamplingOfFlags() {
  return {FLAGS_sampled_softmax, FLAGS_sampled_proposal == "log_uniform"};
}

absl::StatusOr<std::unique_ptr<ps::Session>> OpenServers(const std::string& space,
                                                         const Ranks& ranks) {
  ps::SessionOptions options;
  options.servers = SplitList(FLAGS_ps);
  options.space = space;
  options.staleness = static_cast<int>(FLAGS_staleness);
  options.key_file = FLAGS_ps_key_file;
  options.deadline_seconds = FLAGS_ps_deadline;
  MIXREC_ASSIGN_OR_RETURN(options.consistency, ConsistencyOfFlags());
  const absl::Status empty = ranks.leads() ? DropWhatIsThere(options) : absl::OkStatus();
  MIXREC_RETURN_IF_ERROR(ranks.Agree(empty, "opening the servers"));
  options.rank = ranks.rank();
  options.world = ranks.size();
  if (ranks.size() > 1) options.peer_seconds = FLAGS_rank_deadline;
  return ps::Session::Open(options);
}

}  // namespace mixrec::launch
