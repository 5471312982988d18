// The dropout hash, shared by host and device: uniform 32 bits for (row key, site, column).
// Static, for a file that is compiled for another processor than the rest must share no function
// with it (loops.h).
#pragma once

#include <stdint.h>

#ifdef __CUDACC__
#define MIXREC_HOST_DEVICE __host__ __device__
#else
#define MIXREC_HOST_DEVICE
#endif

namespace mixrec::model {

MIXREC_HOST_DEVICE static inline uint32_t DropoutRowSeed(uint64_t row_key, uint64_t site) {
  uint64_t z = row_key + site * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return static_cast<uint32_t>(z ^ (z >> 31));
}
MIXREC_HOST_DEVICE static inline uint32_t DropoutBits(uint32_t row_seed, uint32_t column) {
  uint32_t h = row_seed + column * 0x9E3779B9u;
  h = (h ^ (h >> 16)) * 0x7FEB352Du;
  h = (h ^ (h >> 15)) * 0x846CA68Bu;
  return h ^ (h >> 16);
}
// An element is kept when its bits are at least this; kept values are divided by 1 - probability.
MIXREC_HOST_DEVICE static inline uint32_t DropoutThreshold(double probability) {
  return static_cast<uint32_t>(probability * 4294967296.0);
}

}  // namespace mixrec::model
