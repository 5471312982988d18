// Counter-based random numbers: a value is a pure function of named keys, never of the order in
// which somebody asked. So W ranks, or shards, or a resumed run draw what one process would draw.
#pragma once

#include <cstdint>
#include <string_view>

namespace mixrec {

// splitmix64's finaliser: a bijection of 64-bit words with full avalanche.
inline uint64_t Mix64(uint64_t z) {
  z += 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// A key made of a seed and any number of integers or names, order-sensitive.
inline uint64_t HashKey(uint64_t seed) { return Mix64(seed); }
uint64_t HashName(std::string_view name);
template <typename... Rest>
uint64_t HashKey(uint64_t seed, std::string_view name, Rest... rest);
template <typename... Rest>
uint64_t HashKey(uint64_t seed, uint64_t part, Rest... rest) {
  return HashKey(Mix64(seed) ^ part, rest...);
}
template <typename... Rest>
uint64_t HashKey(uint64_t seed, std::string_view name, Rest... rest) {
  return HashKey(Mix64(seed) ^ HashName(name), rest...);
}

// A stream of random numbers that starts at a key. Copyable; its whole state is one word.
class RandomStream {
 public:
  explicit RandomStream(uint64_t key) : state_(key) {}

  uint64_t Next() {
    state_ += 0x9E3779B97F4A7C15ull;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  // Uniform in [0, 1).
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }
  // Uniform integer in [0, bound), bound > 0, without modulo bias.
  uint64_t Below(uint64_t bound);
  // Standard normal (Box-Muller, one value a call).
  double Normal();

 private:
  uint64_t state_;
};

}  // namespace mixrec
