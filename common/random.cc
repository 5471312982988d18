#include "common/random.h"

#include <cmath>

namespace mixrec {

uint64_t HashName(std::string_view name) {
  uint64_t hash = 0xCBF29CE484222325ull;  // FNV-1a, then mixed
  for (unsigned char c : name) hash = (hash ^ c) * 0x100000001B3ull;
  return Mix64(hash);
}

uint64_t RandomStream::Below(uint64_t bound) {
  // Lemire's multiply-shift with rejection.
  using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(Next()) * bound;
  if (static_cast<uint64_t>(product) < bound) {
    const uint64_t threshold = (0 - bound) % bound;
    while (static_cast<uint64_t>(product) < threshold) {
      product = static_cast<Wide>(Next()) * bound;
    }
  }
  return static_cast<uint64_t>(product >> 64);
}

double RandomStream::Normal() {
  const double u1 = Uniform();
  const double u2 = Uniform();
  return std::sqrt(-2.0 * std::log1p(-u1)) * std::cos(2.0 * M_PI * u2);
}

}  // namespace mixrec
