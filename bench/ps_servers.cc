#include "bench/ps_servers.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <utility>

#include "net/zmq_transport.h"
#include "ps/authority.h"
#include "ps/shard.h"

namespace mixrec::bench {
namespace {

constexpr double kStartSeconds = 20;
constexpr char kScheme[] = "tcp://";

// Serves the actor that `make` makes for an endpoint, until the process is killed.
template <typename Make>
void Serve(Speaker* parent, Make make) {
  net::ZmqOptions options;
  options.listen = "127.0.0.1:0";
  auto loop = net::ZmqLoop::Create(options);
  if (!loop.ok()) return parent->Say(std::string(loop.status().message()));
  const std::unique_ptr<net::Actor> actor = make((*loop)->endpoint());
  parent->Say((*loop)->endpoint());
  (*loop)->Run(actor.get());
}

absl::StatusOr<std::string> Endpoint(Child* child) {
  MIXREC_ASSIGN_OR_RETURN(std::string line, child->Listen(kStartSeconds));
  if (line.rfind(kScheme, 0) != 0) return FailureError("a server did not start: ", line);
  return line;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PsServers>> PsServers::Start(const PsServersOptions& options) {
  std::unique_ptr<PsServers> servers(new PsServers);
  ps::AuthorityOptions authority;
  authority.shards = options.shards;
  authority.replicas = options.replicas;
  MIXREC_ASSIGN_OR_RETURN(servers->authority_, Child::Start([&](Speaker* parent) {
                            Serve(parent, [&](const std::string&) {
                              return std::make_unique<ps::Authority>(authority);
                            });
                          }));
  MIXREC_ASSIGN_OR_RETURN(const std::string endpoint, Endpoint(servers->authority_.get()));
  servers->address_ = endpoint.substr(std::string(kScheme).size());
  for (int k = 0; k < options.shards * (1 + options.replicas); ++k) {
    ps::ShardOptions shard;
    shard.incarnation = static_cast<uint64_t>(k + 1);
    shard.authority = endpoint;
    shard.device = options.device;
    MIXREC_ASSIGN_OR_RETURN(auto child, Child::Start([&](Speaker* parent) {
                              if (options.device.is_cuda() && !at::hasCUDA()) {
                                return parent->Say("--device=cuda: no CUDA GPU was found");
                              }
                              at::set_num_threads(options.threads);
                              Serve(parent, [&](const std::string& own) {
                                shard.endpoint = own;
                                return std::make_unique<ps::Shard>(shard);
                              });
                            }));
    MIXREC_RETURN_IF_ERROR(Endpoint(child.get()).status());
    servers->shards_.push_back(std::move(child));
  }
  return servers;
}

double PsServers::ShardCpuSeconds() const {
  double sum = 0;
  for (const auto& shard : shards_) sum += CpuSecondsOf(shard->pid());
  return sum;
}

}  // namespace mixrec::bench
