// Flags of `mixrec ps`.
#include <gflags/gflags.h>

DEFINE_string(listen, "127.0.0.1:7077",
              "host:port where workers and shard processes reach the authority; shards listen on "
              "the same host; of a scheduler, where groups reach it. Port 0: any free one; network "
              "(of a scheduler): this host's address on --network; auto: the same under Slurm or "
              "with --network, else 127.0.0.1:0");
DEFINE_int64(
    shards, 1,
    "Shards that the tables are cut into; of a search: shards to start on this machine for "
    "the tables of its trials, 0 for none");
DEFINE_int64(sockets, 1, "Sockets of a shard process, each with a shard and a thread of its own");
DEFINE_int64(replicas, 0, "Backups of each shard: 0 or 1");
DEFINE_string(key_file, "",
              "File with the key that servers and workers share (made with mode 0600 if missing); "
              "needed on a network, empty for none (of a scheduler on a network: "
              "STUDY/scheduler.key)");
DEFINE_bool(insecure, false,
            "Listen on a network without a key: whoever reaches the port may read "
            "and write all tables");
DEFINE_string(state, "",
              "File that journals who holds what: with it a restarted `mixrec ps` finds the shard "
              "processes that still live; without it they end with this process");
DEFINE_string(join, "",
              "host:port of another host's `mixrec ps`: start shard processes for it here");
DEFINE_int64(spawn, -1,
             "Shard processes to start on this host; -1 for all that --shards and --replicas need");
DEFINE_double(heartbeat_seconds, 1,
              "Seconds between two signs of life of a shard process, or of a worker group");
DEFINE_double(dead_seconds, 10, "Seconds of silence after which a shard process is given up");
DEFINE_double(orphan_seconds, 600,
              "Seconds without an authority and without a worker after which a shard process ends; "
              "0 for never");

DEFINE_string(authority, "", "Internal, of shard processes: the authority's endpoint");
DEFINE_int64(incarnation, 0, "Internal, of shard processes: their number, later ones are larger");
DEFINE_int64(parent, 0, "Internal, of shard processes: the process with which they end; 0: none");
DEFINE_int64(gpu, 0, "Internal, of shard processes: the GPU they use with --device=cuda");
