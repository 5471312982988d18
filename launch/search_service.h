// The coordinator of a search in a process of its own: the study, its scheduler, the socket.
#pragma once

#include <string>

#include "bo_driver/study_definition.h"
#include "launch/group_processes.h"
#include "launch/program.h"
#include "launch/run_folder.h"
#include "launch/search_setup.h"
#include "launch/search_shards.h"

namespace mixrec::launch {

struct ServiceOptions {
  bo_driver::StudyOptions study;
  StudyBrief brief;
  std::string settings;              // groups' must be the same: ConfigHash of the study's request
  std::string listen;                // endpoint, port 0: any
  GroupProcesses* groups = nullptr;  // of this machine; null: groups come by themselves
  SearchShards* shards = nullptr;    // of its own; null: none
};

// --listen as an endpoint: "network" is this host's address on --network, with any free port, and
// so is "auto" under Slurm or with --network; elsewhere that is 127.0.0.1. UsageError for an
// address that nobody can be told.
absl::StatusOr<std::string> EndpointToListen(const std::string& listen);

// Opens or goes on with the study in the run's folder and serves it until all trials have ended
// (OK), somebody asks to stop (StoppedError), or most trials fail (FailureError). Returns the
// study's record in `*record` in any case.
absl::Status ServeStudy(const ServiceOptions& options, const Invocation& invocation, RunFolder* run,
                        scheduler::StudyRecord* record);

}  // namespace mixrec::launch
