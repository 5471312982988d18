#include "launch/commands.h"

namespace mixrec::launch {

Commands AllCommands() {
  return {
      {"synth", RunSynth},       {"prepare", RunPrepare},      {"pretrain", RunPretrain},
      {"mine", RunMine},         {"search", RunSearch},        {"scheduler", RunScheduler},
      {"worker", RunWorker},     {"train", RunTrain},          {"train-cf", RunTrainCf},
      {"evaluate", RunEvaluate}, {"table", RunTable},          {"recommend", RunRecommend},
      {"export", RunExport},     {"bench step", RunBenchStep}, {"bench score", RunBenchScore},
      {"bench bo", RunBenchBo},  {"bench ps", RunBenchPs},     {"ps", RunPs},
      {"status", RunStatus},     {"doctor", RunDoctor},
  };
}

}  // namespace mixrec::launch
