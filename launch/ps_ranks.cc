#include "launch/ps_ranks.h"

#include <thread>

#include "common/file.h"
#include "launch/flags.h"
#include "launch/flags_ps.h"
#include "launch/flags_ranks.h"
#include "launch/host_address.h"
#include "net/curve_keys.h"
#include "net/endpoint.h"
#include "net/key_file_text.h"

namespace mixrec::launch {
namespace {

// Servers wait for the end of a run, however long it takes.
constexpr double kNoDeadline = 1e9;

// Process counts of ranks that differ by one at most.
int64_t PartOf(int64_t count, int rank, int size) {
  return count * (rank + 1) / size - count * rank / size;
}

}  // namespace

absl::StatusOr<int> ProcessesOfAllShards() {
  const int64_t places = FLAGS_shards * (1 + FLAGS_replicas);
  const int64_t processes = (places + FLAGS_sockets - 1) / FLAGS_sockets;
  if (FLAGS_sockets > FLAGS_shards) {
    return UsageError("--sockets=", FLAGS_sockets,
                      " of a process are more than --shards=", FLAGS_shards,
                      "; a process holds one copy of a shard at most");
  }
  return static_cast<int>(processes);
}

absl::Status PsRanks::TakePlace(const Invocation& invocation) {
  if (ranks_->group() == nullptr) return absl::OkStatus();
  for (const char* flag : {"join", "spawn", "state"}) {
    if (invocation.IsGiven(flag)) {
      return UsageError("--", flag, " is for servers without mpirun, which places them itself");
    }
  }
  if (!invocation.IsGiven("shards")) {
    SetFlags({{"shards", StrCat(ranks_->size() * FLAGS_sockets)}});
  }
  MIXREC_ASSIGN_OR_RETURN(const int processes, ProcessesOfAllShards());
  SetFlags({{"spawn", StrCat(PartOf(processes, ranks_->rank(), ranks_->size()))}});
  for (int other = 0; other < ranks_->rank(); ++other) {
    const bool here =
        ranks_->group()->members()[static_cast<size_t>(other)].host == ranks_->group()->self().host;
    if (here) processes_before_ += static_cast<int>(PartOf(processes, other, ranks_->size()));
  }
  std::string host = "127.0.0.1";
  if (ranks_->spans_hosts() || !FLAGS_network.empty()) {
    MIXREC_ASSIGN_OR_RETURN(host, AddressOn(FLAGS_network));
  }
  return ranks_->leads() ? Lead(invocation, host) : Follow(host);
}

absl::Status PsRanks::Lead(const Invocation& invocation, const std::string& host) {
  if (!invocation.IsGiven("listen")) {
    // Who comes from outside must know the port.
    SetFlags({{"listen", StrCat(host, ranks_->has_other_roles() ? ":0" : ":7077")}});
  }
  if (!FLAGS_key_file.empty() || FLAGS_insecure) return absl::OkStatus();
  MIXREC_ASSIGN_OR_RETURN(const std::string endpoint, net::EndpointOf(FLAGS_listen));
  if (net::IsLoopback(endpoint) || !ranks_->has_other_roles()) return absl::OkStatus();
  MIXREC_ASSIGN_OR_RETURN(const net::CurveKeys keys, net::NewCurveKeys());
  MIXREC_RETURN_IF_ERROR(ranks_->KeepKey(net::KeyFileText(keys)));
  SetFlags({{"key_file", ranks_->key_file()}});
  return absl::OkStatus();
}

absl::Status PsRanks::Follow(const std::string& host) {
  ServersWay way;
  MIXREC_RETURN_IF_ERROR(ranks_->ShareServers(&way));
  SetFlags({{"listen", host + ":0"}, {"join", way.address}, {"key_file", ranks_->key_file()}});
  return absl::OkStatus();
}

absl::Status PsRanks::Announce(const std::string& address) {
  if (ranks_->group() == nullptr) return absl::OkStatus();
  ServersWay way{address, ""};
  if (!FLAGS_key_file.empty()) {
    MIXREC_ASSIGN_OR_RETURN(way.key, ReadFile(FLAGS_key_file));
  }
  return ranks_->ShareServers(&way);
}

absl::Status PsRanks::Serve(net::ZmqLoop* loop, net::Actor* actor) {
  if (obeys_stop_signal()) {
    loop->Run(actor);
    return absl::OkStatus();
  }
  absl::Status end;
  ranks_->world()->world()->set_patience(kNoDeadline);
  std::thread waiting([&] {
    end = ranks_->world()->SayGoodbye();
    loop->Stop();
  });
  loop->Run(actor);
  waiting.join();
  return end;
}

}  // namespace mixrec::launch
