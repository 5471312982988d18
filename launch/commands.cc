#include "launch/commands.h"

#include "launch/command_bench_search.h"
#include "launch/ranks.h"

namespace mixrec::launch {

Commands AllCommands() {
  return {
      {"synth", OneProcess(RunSynth)},
      {"prepare", OneProcess(RunPrepare)},
      {"pretrain", OneProcess(RunPretrain)},
      {"mine", OneProcess(RunMine)},
      {"search", OneProcess(RunSearch)},
      {"scheduler", OneProcess(RunScheduler)},
      {"worker", RunWorker},
      {"train", RunTrain},
      {"train-cf", OneProcess(RunTrainCf)},
      {"evaluate", RunEvaluate},
      {"table", OneProcess(RunTable)},
      {"recommend", RunRecommend},
      {"export", OneProcess(RunExport)},
      {"bench step", RunBenchStep},
      {"bench score", RunBenchScore},
      {"bench bo", RunBenchBo},
      {"bench search", OneProcess(RunBenchSearch)},
      {"bench ps", RunBenchPs},
      {"bench allreduce", RunBenchAllreduce},
      {"ps", RunPs},
      {"status", RunStatus},
      {"doctor", RunDoctor},
  };
}

}  // namespace mixrec::launch
