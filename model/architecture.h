// The architecture of the DAMoE layers: 3 bits a layer (paper Sec. 2.3.3), and their text form.
//
// Bits are layer-major from the bottom, in the order (causal expert, context expert,
// recommendation adapter); '0' is a serial adapter, '1' a parallel one. L counts DAMoE layers.
// Depends on nothing of the model: the search sees the model only through this header.
#pragma once

#include <string>
#include <string_view>

#include "common/status.h"

namespace mixrec::model {

enum class AdapterSite { kCausal = 0, kContext = 1, kRecommendation = 2 };
inline constexpr int kSitesPerLayer = 3;

class Architecture {
 public:
  // All serial, the default (the paper's Variation 2).
  static Architecture Serial(int layers) {
    return Architecture(std::string(static_cast<size_t>(layers * kSitesPerLayer), '0'));
  }
  // From text such as "010110001" for 3 DAMoE layers. UsageError when a character is neither 0 nor
  // 1 or when the length is not 3 * layers.
  static absl::StatusOr<Architecture> Parse(std::string_view bits, int layers);

  int layers() const { return static_cast<int>(bits_.size()) / kSitesPerLayer; }
  const std::string& bits() const { return bits_; }
  bool parallel(int layer, AdapterSite site) const {
    return bits_[static_cast<size_t>(layer * kSitesPerLayer + static_cast<int>(site))] == '1';
  }

 private:
  explicit Architecture(std::string bits) : bits_(std::move(bits)) {}
  std::string bits_;
};

// Number of DAMoE layers when every `replace_every`-th of `layers` LLM layers is replaced (paper
// r): the 0-based layer k is one iff (k+1) % replace_every == 0.
inline int DamoeLayers(int layers, int replace_every) { return layers / replace_every; }
inline bool IsDamoeLayer(int layer, int replace_every) { return (layer + 1) % replace_every == 0; }

}  // namespace mixrec::model
