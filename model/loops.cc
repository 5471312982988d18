#include "model/loops.h"

#include <ATen/Version.h>

namespace mixrec::model::cpu {

namespace portable {
extern const AttentionLoops kAttentionLoops;
extern const RowLoops kRowLoops;
}  // namespace portable

const Loops& PortableLoops() {
  static constexpr Loops kLoops{"portable", &portable::kAttentionLoops, &portable::kRowLoops};
  return kLoops;
}

#ifdef MIXREC_LOOPS_AVX512

namespace avx512 {
extern const AttentionLoops kAttentionLoops;
extern const RowLoops kRowLoops;
}  // namespace avx512

namespace {

// x86-64-v4, as far as it is more than x86-64-v3; the system must keep the registers, too.
bool ProcessorHasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

}  // namespace

const Loops* Avx512Loops() {
  static constexpr Loops kLoops{"AVX-512", &avx512::kAttentionLoops, &avx512::kRowLoops};
  static const bool usable = ProcessorHasAvx512() && at::get_cpu_capability() == "AVX512";
  return usable ? &kLoops : nullptr;
}

#else

const Loops* Avx512Loops() { return nullptr; }

#endif

const Loops& ChosenLoops() {
  const Loops* avx512 = Avx512Loops();
  return avx512 != nullptr ? *avx512 : PortableLoops();
}

}  // namespace mixrec::model::cpu
