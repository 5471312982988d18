#include "launch/search_service.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "bo_driver/study_strategy.h"
#include "common/log.h"
#include "launch/clock_text.h"
#include "launch/flags.h"
#include "launch/flags_ps.h"
#include "launch/flags_ranks.h"
#include "launch/flags_search.h"
#include "launch/flags_status.h"
#include "launch/host_address.h"
#include "launch/live_page.h"
#include "launch/scheduler_address.h"
#include "launch/scheduler_host.h"
#include "net/endpoint.h"
#include "scheduler/scheduler.h"

namespace mixrec::launch {
namespace {

net::Time Micros(double seconds) { return static_cast<net::Time>(seconds * net::kSecond); }

// Larger than that of any scheduler of the study before, whatever this host's clock says.
uint64_t NextIncarnation(const SchedulerAddress& before) {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  const auto now =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(since).count());
  return std::max(now, before.incarnation + 1);
}

std::string AbsolutePath(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
}

scheduler::SchedulerOptions SchedulerOptionsOf(const ServiceOptions& options,
                                               uint64_t incarnation) {
  scheduler::SchedulerOptions result;
  result.incarnation = incarnation;
  result.lease = Micros(FLAGS_lease_seconds);
  result.heartbeat = Micros(FLAGS_heartbeat_seconds);
  result.retries = static_cast<int>(FLAGS_max_trial_retries);
  result.study = BriefText(options.brief);
  result.settings = options.settings;
  result.report = [](const std::string& text) { LOG(INFO) << text; };
  return result;
}

}  // namespace

absl::StatusOr<std::string> EndpointToListen(const std::string& listen) {
  if (listen == "auto" || listen == "network") {
    const bool network =
        listen == "network" || !FLAGS_network.empty() || std::getenv("SLURM_JOB_ID") != nullptr;
    if (!network) return net::EndpointOf("127.0.0.1:0");
    MIXREC_ASSIGN_OR_RETURN(const std::string address, AddressOn(FLAGS_network));
    return net::EndpointOf(address + ":0");
  }
  MIXREC_ASSIGN_OR_RETURN(const std::string endpoint, net::EndpointOf(listen));
  const std::string host = endpoint.substr(6, endpoint.rfind(':') - 6);  // after "tcp://"
  if (host == "*" || host == "0.0.0.0" || host == "[::]") {
    return UsageError("--listen=", listen, ": groups are told this address; name the one of this ",
                      "host on the network, such as 10.0.0.3:7078");
  }
  return endpoint;
}

absl::Status ServeStudy(const ServiceOptions& options, const Invocation& invocation, RunFolder* run,
                        scheduler::StudyRecord* record) {
  if (FLAGS_lease_seconds < 3 * FLAGS_heartbeat_seconds) {
    return UsageError("--lease_seconds=", FLAGS_lease_seconds, " is too short for ",
                      "--heartbeat_seconds=", FLAGS_heartbeat_seconds, "; three times it at least");
  }
  MIXREC_ASSIGN_OR_RETURN(scheduler::Journal journal,
                          scheduler::Journal::Open(run->File("study.journal")));
  MIXREC_ASSIGN_OR_RETURN(const std::unique_ptr<bo_driver::StudyStrategy> strategy,
                          bo_driver::StudyStrategy::Open(options.study, &journal));
  const SchedulerAddress before =
      ReadSchedulerAddress(options.brief.folder).value_or(SchedulerAddress());
  SchedulerAddress now;
  net::ZmqOptions transport;
  MIXREC_ASSIGN_OR_RETURN(
      transport.socket.keys,
      KeysToListen(options.listen, FLAGS_key_file, FLAGS_insecure, run->path(), &now.key_file));
  MIXREC_ASSIGN_OR_RETURN(const std::unique_ptr<net::ZmqLoop> loop,
                          ListenAgain(options.listen, before, transport));
  now.address = loop->endpoint().substr(6);  // after "tcp://"
  now.host = HostName();
  now.process = ::getpid();
  now.incarnation = NextIncarnation(before);
  now.key_file = AbsolutePath(now.key_file);
  now.study = options.brief.folder;
  StudyBoard board;
  board.Put(scheduler::ViewOf(journal.study()));
  std::unique_ptr<LivePage> page;
  if (!FLAGS_http.empty()) {
    MIXREC_ASSIGN_OR_RETURN(page, LivePage::Start(FLAGS_http, [&] { return board.Get(); }));
    now.http = page->address();
    *invocation.out << "page: http://" << now.http << "/" << std::endl;
  }
  MIXREC_RETURN_IF_ERROR(WriteSchedulerAddress(now));

  scheduler::Scheduler scheduler(SchedulerOptionsOf(options, now.incarnation), &journal,
                                 strategy.get());
  SchedulerHostOptions outside;
  outside.drain = Micros(FLAGS_drain_seconds);
  outside.groups = options.groups;
  if (options.shards != nullptr) outside.watch = [&] { return options.shards->Check(); };
  outside.board = &board;
  outside.on_result = [&] {
    const std::string warning = bo_driver::ModelWarning(strategy->driver());
    if (!warning.empty()) LOG(WARNING) << warning;
  };
  SchedulerHost host(outside, &scheduler);
  *invocation.out << "scheduler: at " << now.address << ", study " << options.brief.folder
                  << std::endl;
  loop->Run(&host);
  *record = journal.study();
  if (host.result().ok()) ::unlink(SchedulerFile(options.brief.folder).c_str());
  if (strategy->exhausted()) *invocation.out << "every architecture has been tried\n";
  return host.result();
}

}  // namespace mixrec::launch
