// An exponential that compilers vectorise. Static, for a file that is compiled for another
// processor than the rest must share no function with it (model/loops.h).
#pragma once

#include <stdint.h>

namespace mixrec::tensor {

// exp(x) for x <= 0 to about 1 ulp of fp32; below -87 about 1e-38.
static inline float ExpOfNonPositive(float x) {
  x = x < -87.0f ? -87.0f : x;
  const float rounded = __builtin_rintf(x * 1.44269504088896341f);
  const float t = (x - rounded * 0.693359375f) + rounded * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * t + 1.3981999507e-3f;
  p = p * t + 8.3334519073e-3f;
  p = p * t + 4.1665795894e-2f;
  p = p * t + 1.6666665459e-1f;
  p = p * t + 5.0000001201e-1f;
  p = p * t * t + t + 1.0f;
  const int32_t exponent = (static_cast<int32_t>(rounded) + 127) << 23;
  float power;
  __builtin_memcpy(&power, &exponent, sizeof(power));
  return p * power;
}

}  // namespace mixrec::tensor
