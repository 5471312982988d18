// Negatives of the contrastive loss (paper Sec. 2.4; model.md D27, D28): a set per item, behind an
// interface, so that mined sets can take the place of the uniform one.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/random.h"
#include "data/dataset.h"

namespace mixrec::data {

class HardSampleSource {
 public:
  virtual ~HardSampleSource() = default;
  // Appends exactly `count` negatives of `item`, never `item` itself, distinct while the catalogue
  // has enough other items. A pure function of the source, the arguments and the stream's state.
  // Any thread.
  virtual void Draw(int32_t item, int count, RandomStream* random,
                    std::vector<int32_t>* negatives) const = 0;
};

// Uniform over the items that share no training history S with the item (D35). Where fewer than
// `count` such items exist all of them are taken and random other items fill up (D27).
class UniformNonCooccurring : public HardSampleSource {
 public:
  // Keeps a reference to the data set. Memory: 4 bytes a training interaction.
  explicit UniformNonCooccurring(const Dataset& dataset);

  void Draw(int32_t item, int count, RandomStream* random,
            std::vector<int32_t>* negatives) const override;

  // Whether some training history holds both. Reads the histories of the users of one of them.
  bool Cooccur(int32_t a, int32_t b) const;
  // The items that share a training history with `item`, itself included, ascending.
  std::vector<int32_t> Cooccurring(int32_t item) const;

 private:
  absl::Span<const int32_t> users_of(int32_t item) const;

  const Dataset& dataset_;
  std::vector<int64_t> offsets_;  // [items + 1]
  std::vector<int32_t> users_;    // users whose S holds the item, ascending, without repetition
};

}  // namespace mixrec::data
