#include "data/raw_files.h"
#include "data/synth.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/flags_prepare.h"
#include "launch/options.h"

namespace mixrec::launch {

absl::Status RunSynth(const Invocation& invocation) {
  MIXREC_RETURN_IF_ERROR(RequireFlag("out", FLAGS_out));
  MIXREC_RETURN_IF_ERROR(data::WriteSynthetic(SynthOptionsOfFlags(), FLAGS_out));
  if (FLAGS_raw) MIXREC_RETURN_IF_ERROR(data::WriteRawFiles(FLAGS_out));
  *invocation.out << "wrote " << FLAGS_user_count << " users and " << FLAGS_item_count
                  << " items to " << FLAGS_out << "\n";
  return absl::OkStatus();
}

}  // namespace mixrec::launch
