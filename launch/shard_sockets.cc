#include "launch/shard_sockets.h"

#include <memory>
#include <thread>
#include <vector>

namespace mixrec::launch {
namespace {

struct Socket {
  std::unique_ptr<net::ZmqLoop> loop;
  std::unique_ptr<ps::Shard> shard;
  std::thread thread;
};

void Serve(size_t index, const std::vector<Socket>* sockets) {
  const Socket& own = (*sockets)[index];
  own.loop->Run(own.shard.get());
  if (!own.shard->failed()) return;
  for (const Socket& socket : *sockets) socket.loop->Stop();
}

}  // namespace

absl::Status ServeShards(const net::ZmqOptions& transport, const ps::ShardOptions& shard,
                         int sockets) {
  std::vector<Socket> all(static_cast<size_t>(sockets));
  for (Socket& socket : all) {
    MIXREC_ASSIGN_OR_RETURN(socket.loop, net::ZmqLoop::Create(transport));
    ps::ShardOptions options = shard;
    options.endpoint = socket.loop->endpoint();
    socket.shard = std::make_unique<ps::Shard>(options);
  }
  for (size_t index = 1; index < all.size(); ++index) {
    all[index].thread = std::thread(Serve, index, &all);
  }
  Serve(0, &all);
  for (Socket& socket : all) {
    if (socket.thread.joinable()) socket.thread.join();
  }
  return absl::OkStatus();
}

}  // namespace mixrec::launch
