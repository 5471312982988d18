#include "common/event_file.h"

#include <unistd.h>

#include <array>
#include <cstring>

#include "absl/strings/str_format.h"

namespace mixrec {
namespace {

constexpr std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82F63B78u : 0u);
    table[byte] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = MakeCrcTable();

// TFRecord's masking, so that a CRC of data that holds CRCs stays a good one.
uint32_t MaskedCrc(std::string_view bytes) {
  const uint32_t crc = Crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

template <typename T>
void AppendFixed(T value, std::string* out) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

void AppendVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

// Protobuf's wire types.
enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void AppendKey(int field, WireType type, std::string* out) {
  AppendVarint(static_cast<uint64_t>(field) << 3 | type, out);
}

void AppendBytes(int field, std::string_view bytes, std::string* out) {
  AppendKey(field, kBytes, out);
  AppendVarint(bytes.size(), out);
  out->append(bytes);
}

// Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
std::string EventStart(double wall_time) {
  std::string event;
  AppendKey(1, kFixed64, &event);
  AppendFixed(wall_time, &event);
  return event;
}

}  // namespace

uint32_t Crc32c(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFFu;
  for (const char byte : bytes) {
    crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFF];
  }
  return ~crc;
}

std::string FrameRecord(std::string_view bytes) {
  std::string record;
  AppendFixed(static_cast<uint64_t>(bytes.size()), &record);
  AppendFixed(MaskedCrc(record), &record);
  record.append(bytes);
  AppendFixed(MaskedCrc(bytes), &record);
  return record;
}

std::string EventFileHeader(double wall_time) {
  std::string event = EventStart(wall_time);
  AppendBytes(3, "brain.Event:2", &event);
  return FrameRecord(event);
}

std::string ScalarEvent(double wall_time, int64_t step,
                        const std::vector<std::pair<std::string, double>>& values) {
  std::string summary;  // Summary { repeated Value value = 1; }
  for (const auto& [tag, number] : values) {
    std::string value;  // Value { string tag = 1; float simple_value = 2; }
    AppendBytes(1, tag, &value);
    AppendKey(2, kFixed32, &value);
    AppendFixed(static_cast<float>(number), &value);
    AppendBytes(1, value, &summary);
  }
  std::string event = EventStart(wall_time);
  AppendKey(2, kVarint, &event);
  AppendVarint(static_cast<uint64_t>(step), &event);
  AppendBytes(5, summary, &event);
  return FrameRecord(event);
}

std::string EventFileName(double wall_time) {
  char host[256] = "localhost";
  ::gethostname(host, sizeof(host) - 1);
  return absl::StrFormat("events.out.tfevents.%010d.%s.%d", static_cast<int64_t>(wall_time), host,
                         ::getpid());
}

}  // namespace mixrec
