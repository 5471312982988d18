// The fuzzer of tests/fuzz for any compiler: seeded mutations of valid messages.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/random.h"
#include "fuzz/fuzz_message.h"
#include "ps/codec.h"
#include "wire_samples.h"

namespace mixrec::ps {
namespace {

// What libFuzzer does, too: bits, bytes, interesting words, parts cut out or doubled.
void MutateOnce(RandomStream* random, std::string* bytes) {
  if (bytes->empty()) return;
  const size_t at = random->Below(bytes->size());
  const size_t length = 1 + random->Below(std::min<size_t>(16, bytes->size() - at));
  static constexpr uint64_t kWords[] = {0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, ~uint64_t{0}};
  switch (random->Below(5)) {
    case 0:
      (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << random->Below(8)));
      break;
    case 1:
      (*bytes)[at] = static_cast<char>(random->Next());
      break;
    case 2: {
      const uint64_t word = kWords[random->Below(6)];
      std::memcpy(bytes->data() + at, &word, std::min<size_t>(4, bytes->size() - at));
      break;
    }
    case 3:
      bytes->erase(at, length);
      break;
    default:
      bytes->insert(at, bytes->substr(at, length));
  }
}

TEST(MutatedMessage, IsReadOrADataErrorAndNeverMore) {
  std::vector<std::string> seeds;
  for (const Body& body : SampleBodies()) seeds.push_back(BytesOf(Encode(SampleWire(body))));
  int accepted = 0, refused = 0;
  for (uint64_t seed = 0; seed < 50000; ++seed) {
    RandomStream random(HashKey(seed, "mutation"));
    std::string bytes = seeds[random.Below(seeds.size())];
    const uint64_t mutations = 1 + random.Below(4);
    for (uint64_t i = 0; i < mutations; ++i) MutateOnce(&random, &bytes);
    const auto wire = Decode(MessageOf(bytes));
    if (wire.ok()) {
      ++accepted;
      EXPECT_TRUE(Decode(Encode(*wire)).ok()) << seed;
    } else {
      ++refused;
      EXPECT_EQ(wire.status().code(), absl::StatusCode::kDataLoss) << seed;
    }
  }
  // Neither all nor none, or the mutations would be of no use.
  EXPECT_GT(accepted, 1000);
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace mixrec::ps
