// A shard's state as bytes: what a learner gets from its primary. A JSON header names everything
// and refers to blobs by number: messages of the protocol, as they came, and rows.
//
//   "MIXREC-1" | header bytes, u64 | header | blobs, each padded to 8 bytes
#include <cstring>
#include <nlohmann/json.hpp>

#include "common/log.h"
#include "ps/codec.h"
#include "ps/shard_state.h"

namespace mixrec::ps {
namespace {

using Json = nlohmann::json;

constexpr char kMagic[] = "MIXREC-1";
constexpr size_t kPrefix = 16;

Wire Bare(Body body) {
  Wire wire;
  wire.body = std::move(body);
  return wire;
}

size_t Padded(size_t bytes) { return (bytes + 7) / 8 * 8; }

class Blobs {
 public:
  size_t Add(net::Buffer bytes) {
    blobs_.push_back(std::move(bytes));
    return blobs_.size() - 1;
  }
  // The numbers of a message's head and frames.
  Json AddMessage(const Wire& wire) {
    net::Message message = Encode(wire);
    Json numbers = Json::array({Add(std::move(message.head))});
    for (net::Buffer& frame : message.frames) numbers.push_back(Add(std::move(frame)));
    return numbers;
  }
  net::Buffer Join(Json header) const {
    Json sizes = Json::array();
    size_t bytes = 0;
    for (const net::Buffer& blob : blobs_) {
      sizes.push_back(blob.size());
      bytes += Padded(blob.size());
    }
    header["blobs"] = sizes;
    const std::string text = header.dump();
    const uint64_t length = text.size();
    return net::Buffer::Make(kPrefix + Padded(text.size()) + bytes, [&](char* out) {
      std::memcpy(out, kMagic, 8);
      std::memcpy(out + 8, &length, 8);
      out = std::copy(text.begin(), text.end(), out + kPrefix);
      out = std::fill_n(out, Padded(text.size()) - text.size(), '\0');
      for (const net::Buffer& blob : blobs_) {
        out = std::copy_n(blob.data(), blob.size(), out);
        out = std::fill_n(out, Padded(blob.size()) - blob.size(), '\0');
      }
    });
  }

 private:
  std::vector<net::Buffer> blobs_;
};

// The header and the blobs of an image, checked against its size.
struct Parts {
  Json header;
  std::vector<net::Buffer> blobs;

  net::Message MessageOf(const Json& numbers) const {
    net::Message message;
    message.head = blobs.at(numbers.at(0).get<size_t>());
    for (size_t k = 1; k < numbers.size(); ++k) {
      message.frames.push_back(blobs.at(numbers[k].get<size_t>()));
    }
    return message;
  }
};

absl::StatusOr<Parts> Split(const net::Buffer& image) {
  uint64_t length = 0;
  if (image.size() < kPrefix || std::memcmp(image.data(), kMagic, 8) != 0) {
    return DataError("not the state of a shard");
  }
  std::memcpy(&length, image.data() + 8, 8);
  if (length > image.size() - kPrefix) return DataError("the state of a shard is cut off");
  Parts parts;
  parts.header = Json::parse(image.data() + kPrefix, image.data() + kPrefix + length);
  size_t offset = kPrefix + Padded(length);
  for (const Json& size_json : parts.header.at("blobs")) {
    const auto size = size_json.get<size_t>();
    if (offset > image.size() || size > image.size() - offset) {
      return DataError("the state of a shard is cut off");
    }
    parts.blobs.push_back(image.Slice(offset, size));
    offset += Padded(size);
  }
  return parts;
}

Json TableJson(const std::string& space, const ServedTable& table, Blobs* blobs) {
  const Table& rows = table.table();
  const int64_t count = rows.layout().local_rows();
  const auto state_bytes = static_cast<size_t>(count * rows.state_width()) * sizeof(float);
  net::Buffer counts;
  const net::Buffer state = net::Buffer::Make(state_bytes + 1, [&](char* out) {
    counts = net::Buffer::Make(static_cast<size_t>(count) * 4 + 1, [&](char* count_out) {
      rows.ReadState(0, count, reinterpret_cast<float*>(out),
                     reinterpret_cast<int32_t*>(count_out));
      count_out[count * 4] = 0;
    });
    out[state_bytes] = 0;
  });
  Json pieces = Json::array();
  for (const Piece& piece : table.gate().Waiting()) {
    pieces.push_back({{"rank", piece.rank},
                      {"step", piece.step},
                      {"part", piece.part},
                      {"parts", piece.parts},
                      {"message", blobs->AddMessage(Bare(piece.body))}});
  }
  return {{"create", blobs->AddMessage(Bare(CreateTable{space, table.spec()}))},
          {"state", blobs->Add(state.Slice(0, state_bytes))},
          {"counts", blobs->Add(counts.Slice(0, static_cast<size_t>(count) * 4))},
          {"clocks", table.gate().clocks()},
          {"pieces", pieces}};
}

absl::Status LoadTable(const Parts& parts, const Json& json, ServedTable* table) {
  const net::Buffer& state = parts.blobs.at(json.at("state").get<size_t>());
  const net::Buffer& counts = parts.blobs.at(json.at("counts").get<size_t>());
  Table& rows = table->table();
  const int64_t local = rows.layout().local_rows();
  if (state.size() != static_cast<size_t>(local * rows.state_width()) * sizeof(float) ||
      counts.size() != static_cast<size_t>(local) * sizeof(int32_t)) {
    return DataError("table ", table->spec().name, ": the rows do not fit the table");
  }
  std::vector<int64_t> all(static_cast<size_t>(local));
  for (size_t row = 0; row < all.size(); ++row) all[row] = static_cast<int64_t>(row);
  rows.WriteState(all, reinterpret_cast<const float*>(state.data()),
                  reinterpret_cast<const int32_t*>(counts.data()));
  std::vector<Piece> pieces;
  for (const Json& piece : json.at("pieces")) {
    MIXREC_ASSIGN_OR_RETURN(Wire wire, Decode(parts.MessageOf(piece.at("message"))));
    pieces.push_back({piece.at("rank").get<int>(), piece.at("step").get<int64_t>(),
                      piece.at("part").get<int32_t>(), piece.at("parts").get<int32_t>(),
                      std::move(wire.body)});
  }
  const auto clocks = json.at("clocks").get<std::vector<int64_t>>();
  if (clocks.size() != table->gate().clocks().size()) return DataError("clocks of other ranks");
  table->gate().Load(clocks, std::move(pieces));
  return absl::OkStatus();
}

}  // namespace

net::Buffer ShardState::Serialise() const {
  Blobs blobs;
  Json spaces = Json::array();
  for (const auto& [name, space] : spaces_) {
    Json sessions = Json::array();
    for (const auto& [rank, session] : space.sessions) {
      Json answered = Json::array();
      for (const auto& [request, answer] : session.answered) {
        Envelope envelope;
        envelope.request = request;
        envelope.code = answer.code;
        envelope.text = answer.text;
        answered.push_back(blobs.AddMessage({envelope, answer.body}));
      }
      sessions.push_back({{"rank", rank},
                          {"incarnation", session.incarnation},
                          {"done_below", session.done_below},
                          {"answered", answered}});
    }
    Json tables = Json::array();
    for (const auto& [table_name, table] : space.tables) {
      tables.push_back(TableJson(name, table, &blobs));
    }
    spaces.push_back({{"options", blobs.AddMessage(Bare(space.options))},
                      {"sessions", sessions},
                      {"tables", tables}});
  }
  return blobs.Join({{"namespaces", spaces}});
}

absl::Status ShardState::Load(const net::Buffer& image) {
  spaces_.clear();
  try {
    MIXREC_ASSIGN_OR_RETURN(const Parts parts, Split(image));
    for (const Json& json : parts.header.at("namespaces")) {
      MIXREC_ASSIGN_OR_RETURN(const Wire options, Decode(parts.MessageOf(json.at("options"))));
      const auto& open = std::get<OpenSession>(options.body);
      Namespace& space = spaces_[open.space];
      space.options = open;
      for (const Json& item : json.at("sessions")) {
        Session& session = space.sessions[item.at("rank").get<int>()];
        session.incarnation = item.at("incarnation").get<uint64_t>();
        session.done_below = item.at("done_below").get<uint64_t>();
        for (const Json& message : item.at("answered")) {
          MIXREC_ASSIGN_OR_RETURN(Wire wire, Decode(parts.MessageOf(message)));
          session.answered[wire.envelope.request] = {wire.envelope.code, wire.envelope.text,
                                                     std::move(wire.body)};
        }
      }
      for (const Json& item : json.at("tables")) {
        MIXREC_ASSIGN_OR_RETURN(const Wire create, Decode(parts.MessageOf(item.at("create"))));
        const auto& request = std::get<CreateTable>(create.body);
        const Answer created = Create(request);
        if (created.code != Code::kOk) return DataError(created.text);
        MIXREC_RETURN_IF_ERROR(LoadTable(parts, item, &space.tables.at(request.spec.name)));
      }
    }
  } catch (const Json::exception& error) {
    return DataError("the state of a shard is damaged: ", error.what());
  } catch (const std::out_of_range& error) {
    return DataError("the state of a shard is damaged: ", error.what());
  } catch (const std::bad_variant_access& error) {
    return DataError("the state of a shard is damaged: ", error.what());
  }
  return absl::OkStatus();
}

}  // namespace mixrec::ps
