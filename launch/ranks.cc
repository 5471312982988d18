#include "launch/ranks.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <sstream>
#include <thread>

#include "absl/strings/match.h"
#include "common/file.h"
#include "common/log.h"
#include "launch/build_info.h"
#include "launch/flag_line.h"
#include "launch/flags.h"
#include "launch/flags_ranks.h"
#include "launch/launcher.h"
#include "launch/logging.h"

namespace mixrec::launch {
namespace {

using collective::Member;

constexpr char kServers[] = "ps";
// Of what all ranks do alike before the first step, and of its end.
constexpr double kLoadingSeconds = 1800;
// One rank says why all end, and its code counts, before the others end: mpirun may then kill all.
// It may still wait for an answer of a server when the others know already.
constexpr double kLastWordsSeconds = 15;
constexpr double kLastEndSeconds = 10;
constexpr auto kNewsTravels = std::chrono::milliseconds(500);
constexpr auto kNewsTravelFar = std::chrono::seconds(2);

std::string Fingerprint(const Invocation& invocation) {
  std::string text = StrCat(VersionLine(), "\n", invocation.verb->name);
  for (const auto& [name, value] : invocation.values) text += StrCat("\n", name, "=", value);
  return ContentHash(text);
}

// Whether a failure says that this member is missing.
bool IsMissing(const Member& member, const std::string& failure) {
  const std::string name = collective::Describe(member);
  return absl::StartsWith(failure, name + " has died") ||
         absl::StartsWith(failure, name + " did not ");
}

// "waits for rank 1, 3 to push", as shards say it, with the hosts of those ranks behind.
std::string WithHosts(std::string text, const std::vector<Member>& members) {
  constexpr char kWaits[] = "waits for rank ";
  const size_t begin = text.find(kWaits);
  if (begin == std::string::npos) return text;
  std::istringstream numbers(text.substr(begin + sizeof(kWaits) - 1));
  std::string names;
  char comma = ',';
  for (size_t rank = 0; comma == ',' && numbers >> rank; numbers >> comma) {
    if (rank < members.size()) {
      names += StrCat(names.empty() ? " (" : ", ", collective::Describe(members[rank]));
    }
    comma = ' ';
  }
  return names.empty() ? text : StrCat(text, names, ")");
}

void Say(const absl::Status& failure, const Invocation& invocation) {
  *invocation.err << "mixrec " << invocation.verb->name << ": " << StatusText(failure) << std::endl;
}

// Ends the process with MPI left as it is: nobody may wait for it.
[[noreturn]] void Leave(int code) {
  FlushLog();
  TellLauncher(code);
  ::_exit(code);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Ranks>> Ranks::Meet(const Invocation& invocation) {
  auto ranks = std::make_unique<Ranks>();
  MIXREC_ASSIGN_OR_RETURN(
      ranks->world_, collective::MpiWorld::Join(
                         {invocation.verb->name, Fingerprint(invocation), FLAGS_rank_deadline}));
  ranks->TakePartOfHost(invocation);
  MIXREC_RETURN_IF_ERROR(ranks->TellPlaces(invocation));
  return ranks;
}

bool Ranks::has_other_roles() const {
  if (world_ == nullptr) return false;
  return std::set<std::string>(world_->roles().begin(), world_->roles().end()).size() > 1;
}

bool Ranks::spans_hosts() const {
  if (world_ == nullptr) return false;
  const std::vector<Member>& members = world_->world()->members();
  return std::any_of(members.begin(), members.end(),
                     [&](const Member& member) { return member.host != members.front().host; });
}

absl::Status Ranks::Agree(const absl::Status& mine, const std::string& what) const {
  if (group() == nullptr) return mine;
  const collective::Patience patience(group(), std::max(kLoadingSeconds, FLAGS_rank_deadline));
  return collective::Agree(group(), mine, what);
}

absl::Status Ranks::Share(const std::string& what, std::string* text) const {
  if (group() == nullptr) return absl::OkStatus();
  return collective::BroadcastText(group(), 0, what, text);
}

absl::Status Ranks::ShareServers(ServersWay* way) {
  const int leader = world_->LeaderOf(kServers);
  const std::string what = "the servers' address";
  MIXREC_RETURN_IF_ERROR(collective::BroadcastText(world_->world(), leader, what, &way->address));
  MIXREC_RETURN_IF_ERROR(collective::BroadcastText(world_->world(), leader, what, &way->key));
  return KeepKey(way->key);
}

absl::Status Ranks::KeepKey(const std::string& text) {
  if (text.empty() || key_ != nullptr) return absl::OkStatus();
  MIXREC_ASSIGN_OR_RETURN(key_, MemoryFile::Make(text));
  return absl::OkStatus();
}

absl::Status Ranks::TakeServers(const Invocation& invocation) {
  if (invocation.verb->name == kServers || world_->LeaderOf(kServers) < 0) return absl::OkStatus();
  if (!invocation.table->Takes(invocation.verb->name, "ps")) {
    return UsageError("`mixrec ", invocation.verb->name, "` has no use for parameter servers; ",
                      "leave `mixrec ps` out");
  }
  if (!FLAGS_ps.empty()) {
    return UsageError("--ps=", FLAGS_ps, " beside a `mixrec ps` of the same mpirun; one of them");
  }
  ServersWay way;
  MIXREC_RETURN_IF_ERROR(ShareServers(&way));
  SetFlags({{"ps", way.address}, {"ps_key_file", key_file()}});
  return absl::OkStatus();
}

std::vector<int> Ranks::SpeakersOf(const absl::Status& failure) const {
  const std::string text = StatusText(failure);
  const std::vector<Member>& members = world_->world()->members();
  int numbers[2] = {0, 0};       // ranks among the others and among the servers
  std::vector<int> speakers[2];  // of both
  for (size_t rank = 0; rank < members.size(); ++rank) {
    const int serves = world_->roles()[rank] == kServers ? 1 : 0;
    Member as_named = members[rank];
    as_named.rank = numbers[serves]++;
    if (IsMissing(members[rank], text) || IsMissing(as_named, text)) continue;
    speakers[serves].push_back(static_cast<int>(rank));
  }
  speakers[0].insert(speakers[0].end(), speakers[1].begin(), speakers[1].end());
  return speakers[0];
}

bool Ranks::MustSpeak(const std::vector<int>& speakers) const {
  const int rank = world_->world()->rank();
  if (speakers.empty() || speakers[0] == rank) return !speakers.empty();
  if (!world_->IsHere(speakers[0])) {
    std::this_thread::sleep_for(kNewsTravelFar);
    return false;
  }
  const bool spoken = world_->EndsWithin(speakers[0], kLastWordsSeconds);
  return !spoken && speakers.size() > 1 && speakers[1] == rank;
}

void Ranks::Fail(const absl::Status& failure, const Invocation& invocation) {
  if (MustSpeak(SpeakersOf(failure))) {
    const std::string text = WithHosts(StatusText(failure), group()->members());
    Say(absl::Status(failure.code(), text), invocation);
  }
  invocation.out->flush();
  world_.reset();  // the others are told
  Leave(ExitCodeOf(failure));
}

absl::Status Ranks::End(const absl::Status& status, const Invocation& invocation) {
  const bool alike = status.ok() || collective::IsAgreed(status) || absl::IsCancelled(status);
  if (!alike && world_->failure().ok()) world_->world()->Abort(status);
  const absl::Status failure = alike ? world_->SayGoodbye() : world_->failure();
  if (!failure.ok()) Fail(alike || status.ok() ? failure : status, invocation);
  const bool speaks = SpeakersOf(absl::OkStatus()).front() == world_->world()->rank();
  const bool waits = spans_hosts();
  const auto wait_for_others = world_->waits_for_others();
  device_group_.reset();
  world_.reset();
  if (!speaks) return absl::OkStatus();
  TellLauncher(ExitCodeOf(status));
  // mpirun ends the others when one ends with another code than 0: they go first.
  wait_for_others(kLastEndSeconds);
  if (waits) std::this_thread::sleep_for(kNewsTravels);
  return status;
}

absl::Status RunAmongRanks(const Invocation& invocation, const RankCommand& command) {
  MIXREC_ASSIGN_OR_RETURN(const bool launched, collective::MpiWorld::IsLaunched());
  Ranks alone;
  if (!launched) return command(invocation, &alone);
  absl::StatusOr<std::unique_ptr<Ranks>> ranks = Ranks::Meet(invocation);
  std::ostringstream unheard;
  if (!ranks.ok()) {
    if (IsFirstOfCommand()) {
      Say(ranks.status(), invocation);
    } else {
      std::this_thread::sleep_for(kNewsTravels);
    }
    Leave(ExitCodeOf(ranks.status()));
  }
  Invocation silent = invocation;
  const bool serves_others = invocation.verb->name == kServers && (*ranks)->has_other_roles();
  if (!(*ranks)->leads() || serves_others) {
    silent.out = silent.err = &unheard;
    if (!(*ranks)->leads()) SetTerminalLogLevel("error");
  }
  const absl::Status status = RunGuarded([&]() -> absl::Status {
    MIXREC_RETURN_IF_ERROR((*ranks)->TakeServers(invocation));
    return command(silent, ranks->get());
  });
  return (*ranks)->End(status, invocation);
}

Command OneProcess(const Command& command) {
  return [command](const Invocation& invocation) -> absl::Status {
    if (ProcessesOfLauncher() > 1) {
      return UsageError("`mixrec ", invocation.verb->name, "` is one process; mpirun started ",
                        ProcessesOfLauncher());
    }
    ForgetLauncher();
    return command(invocation);
  };
}

}  // namespace mixrec::launch
