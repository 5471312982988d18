#include "tests/simulation/ps_message_text.h"

#include "ps/codec.h"

namespace mixrec::ps {

std::string DescribePsMessage(const net::Message& message) {
  constexpr const char* kNames[] = {"OpenSession",
                                    "RenewLease",
                                    "CreateTable",
                                    "Pull",
                                    "Push",
                                    "SoftmaxForward",
                                    "SoftmaxBackward",
                                    "TopK",
                                    "Rank",
                                    "Save",
                                    "Restore",
                                    "DropNamespace",
                                    "Stats",
                                    "GetMap",
                                    "Replicate",
                                    "Replicated",
                                    "StateImage",
                                    "StateImageReceived",
                                    "Heartbeat",
                                    "Done",
                                    "Rows",
                                    "SoftmaxPartial",
                                    "TopKLists",
                                    "RankPartial",
                                    "Saved",
                                    "StatsReport",
                                    "Map"};
  const absl::StatusOr<Wire> wire = Decode(message);
  if (!wire.ok()) return "malformed";
  const Envelope& envelope = wire->envelope;
  std::string text =
      StrCat(kNames[wire->body.index()], " request ", envelope.request, " slot ", envelope.slot,
             " epoch ", envelope.epoch, " code ", static_cast<int>(envelope.code));
  if (const auto* update = std::get_if<Replicate>(&wire->body)) {
    text += StrCat(" #", update->sequence, " (",
                   DescribePsMessage({update->original, update->frames}), ")");
  }
  if (const auto* done = std::get_if<Replicated>(&wire->body)) text += StrCat(" #", done->up_to);
  if (const auto* push = std::get_if<Push>(&wire->body)) {
    text += StrCat(" ", push->key.table, " step ", push->step, " part ", push->part);
  }
  return text;
}

}  // namespace mixrec::ps
