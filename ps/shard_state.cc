#include "ps/shard_state.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "common/log.h"
#include "ps/snapshot.h"

namespace mixrec::ps {
namespace {

constexpr int kMostRanks = 65536;

template <typename... Kinds>
bool IsAnyOf(const Body& body) {
  return (std::holds_alternative<Kinds>(body) || ...);
}

}  // namespace

ShardState::ShardState(BucketRange buckets, at::Device device, Mutation mutation)
    : buckets_(buckets), device_(device), mutation_(mutation) {}

ShardState::Namespace* ShardState::FindSpace(const std::string& space) {
  const auto found = spaces_.find(space);
  return found == spaces_.end() ? nullptr : &found->second;
}

const ShardState::Session* ShardState::FindSession(const std::string& space,
                                                   uint64_t incarnation) const {
  const auto found = spaces_.find(space);
  if (found == spaces_.end()) return nullptr;
  for (const auto& [rank, session] : found->second.sessions) {
    if (session.incarnation == incarnation) return &session;
  }
  return nullptr;
}

int ShardState::RankOf(const std::string& space, uint64_t incarnation) const {
  const auto found = spaces_.find(space);
  if (found == spaces_.end()) return -1;
  for (const auto& [rank, session] : found->second.sessions) {
    if (session.incarnation == incarnation) return rank;
  }
  return -1;
}

std::map<std::string, int64_t> ShardState::Leases() const {
  std::map<std::string, int64_t> leases;
  for (const auto& [name, space] : spaces_) leases[name] = space.options.lease_seconds;
  return leases;
}

ServedTable* ShardState::FindTable(const TableKey& key) {
  Namespace* space = FindSpace(key.space);
  if (space == nullptr) return nullptr;
  const auto found = space->tables.find(key.table);
  return found == space->tables.end() ? nullptr : &found->second;
}

Answer ShardState::CheckSender(const Envelope& envelope, const Body& body) const {
  if (IsAnyOf<OpenSession, Stats>(body)) return {};
  const bool drops = std::holds_alternative<DropNamespace>(body);
  const std::string name = SpaceOf(body);
  const auto space = spaces_.find(name);
  if (space == spaces_.end()) {
    if (drops) return {};
    return Refuse(Code::kUnknownSpace, "this shard has no namespace ", name,
                  ": it was restarted, or the lease ran out; resume from the last checkpoint");
  }
  uint64_t newest = 0;
  for (const auto& [rank, session] : space->second.sessions) {
    if (session.incarnation == envelope.incarnation) return {};
    newest = std::max(newest, session.incarnation);
  }
  if (drops && newest <= envelope.incarnation) return {};  // a successor clears what was left
  return newest > envelope.incarnation
             ? Refuse(Code::kFenced, "another process works on ", name, " in this one's place")
             : Refuse(Code::kUnknownSpace, "this shard has no session of this process in ", name);
}

ShardState::Seen ShardState::Find(const Envelope& envelope, const Body& body,
                                  Answer* answer) const {
  const Session* session = FindSession(SpaceOf(body), envelope.incarnation);
  if (session == nullptr || mutation_ == Mutation::kNoDeduplication) return Seen::kNew;
  if (envelope.request < session->done_below) return Seen::kOver;
  const auto found = session->answered.find(envelope.request);
  if (found == session->answered.end()) return Seen::kNew;
  *answer = found->second;
  return Seen::kAnswered;
}

Answer ShardState::Prepare(const Body& effect) const {
  const auto* restore = std::get_if<Restore>(&effect);
  if (restore == nullptr || mutation_ == Mutation::kTornSnapshot) return {};
  const absl::Status whole = CheckSnapshot(restore->folder);
  return whole.ok() ? Answer{} : Refuse(Code::kFailed, std::string(whole.message()));
}

Answer ShardState::Apply(const Envelope& envelope, const Body& effect) {
  CHECK(IsEffect(effect));
  Answer answer = CheckSender(envelope, effect);
  if (answer.code != Code::kOk) return answer;
  answer = Effect(envelope, effect);
  Namespace* space = FindSpace(SpaceOf(effect));
  if (space == nullptr) return answer;
  for (auto& [rank, session] : space->sessions) {
    if (session.incarnation != envelope.incarnation) continue;
    session.done_below = std::max(session.done_below, envelope.done_below);
    session.answered.erase(session.answered.begin(),
                           session.answered.lower_bound(session.done_below));
    session.answered[envelope.request] = answer;
  }
  return answer;
}

Answer ShardState::Effect(const Envelope& envelope, const Body& body) {
  if (const auto* open = std::get_if<OpenSession>(&body)) return Open(envelope, *open);
  if (const auto* create = std::get_if<CreateTable>(&body)) return Create(*create);
  if (const auto* restore = std::get_if<Restore>(&body)) return RestoreTables(*restore);
  if (std::holds_alternative<DropNamespace>(body)) {
    spaces_.erase(SpaceOf(body));
    return {};
  }
  const int rank = RankOf(SpaceOf(body), envelope.incarnation);
  const TableKey& key = std::holds_alternative<Push>(body) ? std::get<Push>(body).key
                                                           : std::get<SoftmaxBackward>(body).key;
  ServedTable* table = FindTable(key);
  if (table == nullptr) {
    return Refuse(Code::kUnknownSpace, "no table ", key.table, " in ", key.space);
  }
  if (const auto* push = std::get_if<Push>(&body)) return table->Add(rank, *push);
  return table->Add(rank, std::get<SoftmaxBackward>(body));
}

Answer ShardState::Open(const Envelope& envelope, const OpenSession& open) {
  if (open.world < 1 || open.world > kMostRanks || open.rank < 0 || open.rank >= open.world ||
      open.staleness < 0 || open.space.empty()) {
    return Refuse(Code::kRefused, "rank ", open.rank, " of ", open.world, " in namespace '",
                  open.space, "', staleness ", open.staleness);
  }
  Namespace& space = spaces_[open.space];
  if (space.sessions.empty()) space.options = open;
  const OpenSession& known = space.options;
  if (known.world != open.world || known.consistency != open.consistency ||
      known.staleness != open.staleness) {
    return Refuse(Code::kRefused, "namespace ", open.space, " is open with ", known.world,
                  " ranks, and another consistency or number of ranks (", open.world,
                  ") was asked for");
  }
  Session& session = space.sessions[open.rank];
  if (session.incarnation > envelope.incarnation) {
    return Refuse(Code::kFenced, "a newer process is rank ", open.rank, " of ", open.space);
  }
  if (session.incarnation == envelope.incarnation) return {};
  session = Session{};
  session.incarnation = envelope.incarnation;
  for (auto& [name, table] : space.tables) table.gate().Forget(open.rank);
  return {};
}

Answer ShardState::Create(const CreateTable& create) {
  Namespace& space = spaces_.at(create.space);
  const auto found = space.tables.find(create.spec.name);
  if (found != space.tables.end()) {
    if (found->second.spec() == create.spec) return {};
    return Refuse(Code::kRefused, "table ", create.spec.name, " of ", create.space,
                  " is there with another shape, optimiser or seed");
  }
  const OpenSession& options = space.options;
  const GateOptions gate{options.world, options.consistency, options.staleness};
  try {  // LibTorch's allocator throws
    space.tables.emplace(std::piecewise_construct, std::forward_as_tuple(create.spec.name),
                         std::forward_as_tuple(create.spec, gate, buckets_, device_, mutation_));
  } catch (const std::exception& error) {
    const std::string text = error.what();
    return Refuse(Code::kFailed, "no memory for table ", create.spec.name, " of ", create.spec.rows,
                  " rows of width ", create.spec.width(), ": ", text.substr(0, text.find('\n')));
  }
  return {};
}

Answer ShardState::Read(const Envelope& envelope, const Body& body) {
  Answer answer = CheckSender(envelope, body);
  if (answer.code != Code::kOk) return answer;
  return std::visit(
      [&](const auto& request) -> Answer {
        using Request = std::decay_t<decltype(request)>;
        if constexpr (std::is_same_v<Request, Save>) {
          return SaveTables(request);
        } else if constexpr (std::is_same_v<Request, Stats>) {
          return {Code::kOk, "", StatsReport{StatsJson()}};
        } else if constexpr (std::is_same_v<Request, RenewLease>) {
          return {};
        } else if constexpr (std::is_same_v<Request, Pull> || std::is_same_v<Request, TopK> ||
                             std::is_same_v<Request, Rank> ||
                             std::is_same_v<Request, SoftmaxForward>) {
          ServedTable* table = FindTable(request.key);
          return table != nullptr ? table->Read(request)
                                  : Refuse(Code::kUnknownSpace, "no table ", request.key.table,
                                           " in ", request.key.space);
        } else {
          return Refuse(Code::kRefused, "a message that shards do not answer");
        }
      },
      body);
}

Answer ShardState::SaveTables(const Save& save) {
  Namespace& space = spaces_.at(save.space);
  SnapshotContent content;
  content.step = save.step;
  content.buckets = buckets_;
  for (auto& [name, table] : space.tables) {
    if (!table.gate().Settled(save.step)) {
      return Refuse(Code::kParked, "table ", name, " ", table.gate().Missing());
    }
    if (space.options.consistency == Consistency::kBsp && table.gate().version() != save.step) {
      return Refuse(Code::kRefused, "table ", name, " is at step ", table.gate().version(),
                    ", not ", save.step);
    }
    content.tables.push_back(&table.table());
  }
  const absl::StatusOr<Saved> saved = WriteSnapshotFile(save.folder, content);
  if (!saved.ok()) return Refuse(Code::kFailed, std::string(saved.status().message()));
  return {Code::kOk, "", *saved};
}

Answer ShardState::RestoreTables(const Restore& restore) {
  Namespace& space = spaces_.at(restore.space);
  for (auto& [name, table] : space.tables) {
    const absl::Status status = ReadSnapshotTable(
        restore.folder, &table.table(),
        mutation_ == Mutation::kTornSnapshot ? SnapshotTrust::kAny : SnapshotTrust::kWhole);
    if (!status.ok()) return Refuse(Code::kFailed, std::string(status.message()));
    table.Reset(restore.step);
  }
  return {};
}

std::string ShardState::StatsJson() const {
  nlohmann::ordered_json spaces = nlohmann::ordered_json::array();
  for (const auto& [name, space] : spaces_) {
    nlohmann::ordered_json tables = nlohmann::ordered_json::array();
    for (const auto& [table_name, table] : space.tables) {
      tables.push_back({{"name", table_name},
                        {"rows", table.table().layout().local_rows()},
                        {"bytes", table.table().bytes()},
                        {"version", table.gate().version()}});
    }
    spaces.push_back({{"name", name}, {"ranks", space.options.world}, {"tables", tables}});
  }
  return nlohmann::ordered_json{{"namespaces", spaces}}.dump();
}

}  // namespace mixrec::ps
