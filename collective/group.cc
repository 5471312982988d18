#include "collective/group.h"

#include <chrono>
#include <cstring>

#include "absl/strings/cord.h"

namespace mixrec::collective {
namespace {

constexpr char kAgreed[] = "mixrec/agreed";

at::Tensor BytesOf(const std::string& text, int64_t size) {
  at::Tensor bytes = at::zeros({size}, at::kByte);
  std::memcpy(bytes.data_ptr(), text.data(), text.size());
  return bytes;
}

}  // namespace

std::string Describe(const Member& member) {
  return StrCat("rank ", member.rank, " on ", member.host);
}

absl::Status Group::Wait(Ticket ticket) {
  const auto start = std::chrono::steady_clock::now();
  const absl::Status status = DoWait(ticket);
  const auto waited = std::chrono::steady_clock::now() - start;
  waited_seconds_ += std::chrono::duration<double>(waited).count();
  return status;
}

absl::Status Group::Barrier(const std::string& what) {
  return AllGather(at::zeros({1}, at::kByte), at::empty({size(), 1}, at::kByte), what);
}

absl::Status BroadcastText(Group* group, int root, const std::string& what, std::string* text) {
  at::Tensor length = at::full({1}, static_cast<int64_t>(text->size()), at::kLong);
  MIXREC_RETURN_IF_ERROR(group->Broadcast(length, root, what));
  const int64_t size = length.item<int64_t>();
  if (group->rank() != root) text->assign(static_cast<size_t>(size), '\0');
  at::Tensor bytes = BytesOf(*text, size);
  MIXREC_RETURN_IF_ERROR(group->Broadcast(bytes, root, what));
  std::memcpy(text->data(), bytes.data_ptr(), text->size());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> GatherTexts(Group* group, const std::string& mine,
                                                     const std::string& what) {
  const int64_t ranks = group->size();
  at::Tensor lengths = at::zeros({ranks, 1}, at::kLong);
  MIXREC_RETURN_IF_ERROR(
      group->AllGather(at::full({1}, static_cast<int64_t>(mine.size()), at::kLong), lengths, what));
  const int64_t longest = lengths.max().item<int64_t>();
  at::Tensor all = at::zeros({ranks, longest}, at::kByte);
  MIXREC_RETURN_IF_ERROR(group->AllGather(BytesOf(mine, longest), all, what));
  std::vector<std::string> texts;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const char* first = static_cast<const char*>(all.data_ptr()) + rank * longest;
    texts.emplace_back(first, static_cast<size_t>(lengths.data_ptr<int64_t>()[rank]));
  }
  return texts;
}

absl::Status Agree(Group* group, const absl::Status& mine, const std::string& what) {
  std::string text(1, static_cast<char>(mine.code()));
  text.append(mine.message().data(), mine.message().size());
  MIXREC_ASSIGN_OR_RETURN(const std::vector<std::string> all, GatherTexts(group, text, what));
  for (int rank = 0; rank < group->size(); ++rank) {
    const std::string& one = all[static_cast<size_t>(rank)];
    const auto code = static_cast<absl::StatusCode>(one[0]);
    if (code == absl::StatusCode::kOk) continue;
    const std::string message = one.substr(1);
    const std::string who = Describe(group->members()[static_cast<size_t>(rank)]);
    absl::Status agreed(code, rank == group->rank() ? message : StrCat(who, ": ", message));
    agreed.SetPayload(kAgreed, absl::Cord());
    return agreed;
  }
  return absl::OkStatus();
}

bool IsAgreed(const absl::Status& status) { return status.GetPayload(kAgreed).has_value(); }

}  // namespace mixrec::collective
