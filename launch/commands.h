// The commands behind the verbs: each turns flags into options, calls the rooms, prints.
#pragma once

#include "common/status.h"
#include "launch/program.h"

namespace mixrec::launch {

absl::Status RunSynth(const Invocation& invocation);
absl::Status RunPrepare(const Invocation& invocation);
absl::Status RunPretrain(const Invocation& invocation);
absl::Status RunMine(const Invocation& invocation);
absl::Status RunSearch(const Invocation& invocation);
absl::Status RunScheduler(const Invocation& invocation);
absl::Status RunWorker(const Invocation& invocation);
absl::Status RunStatus(const Invocation& invocation);
absl::Status RunTrain(const Invocation& invocation);
absl::Status RunTrainCf(const Invocation& invocation);
absl::Status RunEvaluate(const Invocation& invocation);
absl::Status RunTable(const Invocation& invocation);
absl::Status RunRecommend(const Invocation& invocation);
absl::Status RunExport(const Invocation& invocation);
absl::Status RunBenchStep(const Invocation& invocation);
absl::Status RunBenchScore(const Invocation& invocation);
absl::Status RunBenchBo(const Invocation& invocation);
absl::Status RunBenchPs(const Invocation& invocation);
absl::Status RunBenchAllreduce(const Invocation& invocation);
absl::Status RunPs(const Invocation& invocation);
absl::Status RunDoctor(const Invocation& invocation);

Commands AllCommands();

}  // namespace mixrec::launch
