#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "common/log.h"
#include "common/stop_signal.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/flags_ps.h"
#include "launch/options.h"
#include "launch/ps_processes.h"
#include "launch/ps_ranks.h"
#include "launch/ps_state.h"
#include "launch/ps_supervisor.h"
#include "launch/shard_sockets.h"
#include "net/endpoint.h"
#include "net/zmq_transport.h"

namespace mixrec::launch {
namespace {

net::Time Micros(double seconds) { return static_cast<net::Time>(seconds * net::kSecond); }

std::string HostOf(const std::string& endpoint) { return endpoint.substr(0, endpoint.rfind(':')); }
std::string AddressOf(const std::string& endpoint) { return endpoint.substr(sizeof("tcp://") - 1); }

// Workers and other hosts must be able to use the address as it is written.
absl::StatusOr<std::string> EndpointToListen() {
  MIXREC_ASSIGN_OR_RETURN(const std::string endpoint, net::EndpointOf(FLAGS_listen));
  const std::string host = AddressOf(HostOf(endpoint));
  if (host == "*" || host == "0.0.0.0" || host == "[::]") {
    return UsageError("--listen=", FLAGS_listen, ": others are told this address; name the one of ",
                      "this host on the network, such as 10.0.0.3:7077");
  }
  if (!net::IsLoopback(endpoint) && FLAGS_key_file.empty() && !FLAGS_insecure) {
    return UsageError("--listen=", FLAGS_listen, " is open to the network; give --key_file=FILE ",
                      "(it is made if missing; workers take it as --ps_key_file), or --insecure");
  }
  return endpoint;
}

absl::StatusOr<net::ZmqOptions> TransportOfFlags(bool obeys_stop_signal) {
  net::ZmqOptions transport;
  transport.obeys_stop_signal = obeys_stop_signal;
  if (FLAGS_key_file.empty()) return transport;
  // Only the authority may make a new key: any other process has to have the same one.
  const bool makes = FLAGS_join.empty() && FLAGS_authority.empty();
  MIXREC_ASSIGN_OR_RETURN(transport.socket.keys, makes ? net::ReadOrMakeCurveKeys(FLAGS_key_file)
                                                       : net::ReadCurveKeys(FLAGS_key_file));
  return transport;
}

// --- a shard process ---

// Of a shard that serves the ranks of its own mpirun: a request to stop is for them, and comes to
// all processes of a Slurm job. Its parent ends it, by SIGUSR2.
void HeedParentAlone() {
  TakeStopSignal(SIGUSR2);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) ::signal(signal, SIG_IGN);
}

absl::Status ServeShard() {
  ::prctl(PR_SET_NAME, "mixrec-shard");  // for top and ps
  if (FLAGS_stop_signal == "USR2") HeedParentAlone();
  if (FLAGS_parent != 0) {
    ::prctl(PR_SET_PDEATHSIG, FLAGS_stop_signal == "USR2" ? SIGUSR2 : SIGTERM);
    if (::getppid() != FLAGS_parent) return absl::OkStatus();  // it has died already
  }
  MIXREC_ASSIGN_OR_RETURN(const Compute compute, SetUpCompute());
  MIXREC_ASSIGN_OR_RETURN(net::ZmqOptions transport, TransportOfFlags(/*obeys_stop_signal=*/true));
  transport.listen = FLAGS_listen;
  ps::ShardOptions options;
  options.incarnation = static_cast<uint64_t>(FLAGS_incarnation);
  options.authority = FLAGS_authority;
  options.heartbeat = Micros(FLAGS_heartbeat_seconds);
  options.orphan_after = Micros(FLAGS_orphan_seconds);
  if (compute.device.is_cuda()) {
    options.device = at::Device(at::kCUDA, static_cast<at::DeviceIndex>(FLAGS_gpu));
  }
  return ServeShards(transport, options, static_cast<int>(FLAGS_sockets));
}

// --- their parent ---

std::vector<std::string> ShardArguments(const std::string& authority, const std::string& listen,
                                        int count, bool outlive) {
  const int64_t threads =
      FLAGS_threads > 0 ? FLAGS_threads
                        : static_cast<int64_t>(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<std::string> words{
      "ps",
      StrCat("--authority=", authority),
      StrCat("--listen=", AddressOf(HostOf(listen)), ":0"),
      StrCat("--parent=", outlive ? 0 : ::getpid()),
      StrCat("--sockets=", FLAGS_sockets),
      StrCat("--threads=", std::max<int64_t>(1, threads / (count * FLAGS_sockets))),
      StrCat("--device=", FLAGS_device),
      StrCat("--heartbeat_seconds=", FLAGS_heartbeat_seconds),
      StrCat("--dead_seconds=", FLAGS_dead_seconds),
      StrCat("--orphan_seconds=", FLAGS_orphan_seconds),
      StrCat("--log_level=", FLAGS_log_level)};
  if (!FLAGS_key_file.empty()) words.push_back(StrCat("--key_file=", FLAGS_key_file));
  if (FLAGS_insecure) words.emplace_back("--insecure");
  return words;
}

ShardProcessOptions ProcessOptions(const std::string& authority, const std::string& listen,
                                   int count, const Compute& compute, bool outlive,
                                   const PsRanks& ranks) {
  ShardProcessOptions options;
  options.count = count;
  options.first_gpu = ranks.processes_before();
  options.arguments = ShardArguments(authority, listen, std::max(1, count), outlive);
  if (!ranks.obeys_stop_signal()) {
    options.stop_signal = SIGUSR2;
    options.arguments.emplace_back("--stop_signal=USR2");
  }
  if (compute.device.is_cuda()) options.gpus = static_cast<int>(at::getNumGPUs());
  return options;
}

net::Time Poll() { return std::min(net::kSecond, Micros(FLAGS_heartbeat_seconds)); }

absl::Status Join(const Invocation& invocation, PsRanks* ranks) {
  if (FLAGS_spawn < 0) {
    return UsageError("--join=", FLAGS_join, " needs --spawn=N, the shard processes to start here");
  }
  MIXREC_ASSIGN_OR_RETURN(const std::string authority, net::EndpointOf(FLAGS_join));
  MIXREC_ASSIGN_OR_RETURN(const std::string listen, EndpointToListen());
  MIXREC_ASSIGN_OR_RETURN(const Compute compute, SetUpCompute());
  MIXREC_ASSIGN_OR_RETURN(const net::ZmqOptions transport,
                          TransportOfFlags(ranks->obeys_stop_signal()));
  MIXREC_ASSIGN_OR_RETURN(const std::unique_ptr<net::ZmqLoop> loop,
                          net::ZmqLoop::Create(transport));
  const int count = static_cast<int>(FLAGS_spawn);
  ShardProcesses processes(
      ProcessOptions(authority, listen, count, compute, /*outlive=*/false, *ranks), {});
  *invocation.out << "ps: " << count << " shard process" << (count == 1 ? "" : "es") << " for "
                  << AddressOf(authority) << std::endl;
  ProcessKeeper keeper(Poll(), &processes);
  return ranks->Serve(loop.get(), &keeper);
}

absl::Status CheckState(const PsState& state) {
  const size_t shards = state.map().slots.size();
  if (shards == 0 || shards == static_cast<size_t>(FLAGS_shards)) return absl::OkStatus();
  return UsageError("--state=", FLAGS_state, " holds a map of ", shards,
                    " shards, not of --shards=", FLAGS_shards,
                    "; repeat the old flags, or name a new file");
}

absl::Status Lead(const Invocation& invocation, PsRanks* ranks) {
  MIXREC_ASSIGN_OR_RETURN(const std::string listen, EndpointToListen());
  if (!FLAGS_state.empty() && AddressOf(listen).substr(AddressOf(HostOf(listen)).size()) == ":0") {
    return UsageError("--state=", FLAGS_state,
                      " needs a port in --listen: running shard processes ",
                      "look for a restarted authority there");
  }
  MIXREC_ASSIGN_OR_RETURN(const Compute compute, SetUpCompute());
  MIXREC_ASSIGN_OR_RETURN(net::ZmqOptions transport, TransportOfFlags(ranks->obeys_stop_signal()));
  transport.listen = listen;
  MIXREC_ASSIGN_OR_RETURN(const std::unique_ptr<net::ZmqLoop> loop,
                          net::ZmqLoop::Create(transport));
  PsSupervisorOptions options;
  options.authority.shards = static_cast<int>(FLAGS_shards);
  options.authority.replicas = static_cast<int>(FLAGS_replicas);
  options.authority.dead_after = Micros(FLAGS_dead_seconds);
  options.authority.report = [](const std::string& text) { LOG(INFO) << text; };
  options.address = AddressOf(loop->endpoint());
  options.poll = Poll();
  options.out = invocation.out;
  MIXREC_ASSIGN_OR_RETURN(const int all, ProcessesOfAllShards());
  const int count = FLAGS_spawn < 0 ? all : static_cast<int>(FLAGS_spawn);
  std::unique_ptr<PsState> state;
  ShardProcessOptions starting = ProcessOptions(loop->endpoint(), listen, count, compute,
                                                /*outlive=*/!FLAGS_state.empty(), *ranks);
  std::vector<ShardProcess> earlier;
  if (!FLAGS_state.empty()) {
    MIXREC_ASSIGN_OR_RETURN(state, PsState::Open(FLAGS_state));
    MIXREC_RETURN_IF_ERROR(CheckState(*state));
    options.authority.map = state->map();
    options.authority.journal = [&](const ps::ShardMap& map) { return state->AddMap(map); };
    starting.journal = [&](const ShardProcess& process) { return state->AddProcess(process); };
    earlier = state->processes();
  }
  ShardProcesses processes(starting, earlier);
  LOG_IF(INFO, processes.adopted() > 0)
      << "took over " << processes.adopted() << " shard processes that were running";
  PsSupervisor supervisor(options, &processes);
  MIXREC_RETURN_IF_ERROR(ranks->Announce(options.address));
  return ranks->Serve(loop.get(), &supervisor);
}

}  // namespace

absl::Status RunPs(const Invocation& invocation) {
  if (FLAGS_dead_seconds < 3 * FLAGS_heartbeat_seconds) {
    return UsageError("--dead_seconds=", FLAGS_dead_seconds, " is too short for ",
                      "--heartbeat_seconds=", FLAGS_heartbeat_seconds, "; three times it at least");
  }
  if (FLAGS_shards < 1) return UsageError("--shards=", FLAGS_shards, ": expected 1 or more");
  if (!FLAGS_authority.empty()) return ServeShard();  // no rank: a rank's child
  return RunAmongRanks(invocation, [](const Invocation& mine, Ranks* ranks) -> absl::Status {
    PsRanks place(ranks);
    MIXREC_RETURN_IF_ERROR(place.TakePlace(mine));
    return FLAGS_join.empty() ? Lead(mine, &place) : Join(mine, &place);
  });
}

}  // namespace mixrec::launch
