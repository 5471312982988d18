#include "common/event_file.h"

#include <gtest/gtest.h>

#include <cstring>

namespace mixrec {
namespace {

uint32_t Word(const std::string& bytes, size_t at) {
  uint32_t word;
  std::memcpy(&word, bytes.data() + at, sizeof(word));
  return word;
}

std::string Payload(const std::string& record) { return record.substr(12, record.size() - 16); }

TEST(EventFile, Crc32cHasThePublishedCheckValues) {
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  // RFC 3720, B.4: 32 bytes of zeros, 32 of ones.
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(EventFile, FrameIsLengthMaskedCrcBytesMaskedCrc) {
  const std::string record = FrameRecord("123456789");
  ASSERT_EQ(record.size(), 8u + 4 + 9 + 4);
  EXPECT_EQ(Word(record, 0), 9u);
  EXPECT_EQ(Word(record, 4), 0u);
  const uint32_t crc = 0xE3069283u;
  EXPECT_EQ(Word(record, 21), ((crc >> 15) | (crc << 17)) + 0xA282EAD8u);
  EXPECT_EQ(Payload(record), "123456789");
}

TEST(EventFile, HeaderNamesTheFileVersion) {
  const std::string event = Payload(EventFileHeader(1.0));
  const double one = 1.0;
  std::string expected = "\x09";  // field 1, fixed64
  expected.append(reinterpret_cast<const char*>(&one), 8);
  expected += "\x1A\x0D";  // field 3, 13 bytes
  EXPECT_EQ(event, expected + "brain.Event:2");
}

TEST(EventFile, ScalarEventHoldsStepTagsAndFloats) {
  const std::string event = Payload(ScalarEvent(0, 300, {{"loss", 1.0}, {"a/b", -2.0}}));
  std::string expected(9, '\0');
  expected[0] = '\x09';
  expected += std::string("\x10\xAC\x02", 3);                           // step 300
  expected += std::string("\x2A\x19", 2);                               // summary, 25 bytes
  expected += std::string("\x0A\x0B\x0A\x04loss\x15\0\0\x80\x3F", 13);  // 1.0f
  expected += std::string("\x0A\x0A\x0A\x03", 4) + "a/b" + std::string("\x15\0\0\0\xC0", 5);
  EXPECT_EQ(event, expected);
}

TEST(EventFile, NameSortsByTime) {
  EXPECT_EQ(EventFileName(12.9).rfind("events.out.tfevents.0000000012.", 0), 0u);
  EXPECT_LT(EventFileName(999999999), EventFileName(1000000000));
}

}  // namespace
}  // namespace mixrec
