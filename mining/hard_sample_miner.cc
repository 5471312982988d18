#include "mining/hard_sample_miner.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "common/log.h"
#include "common/stop_signal.h"
#include "data/mined_hard_samples.h"
#include "nlohmann/json.hpp"

namespace mixrec::mining {

int64_t NeighbourCount(int64_t items, const MiningOptions& options) {
  int64_t count = std::llround(options.top_fraction * static_cast<double>(items));
  if (options.max_neighbours > 0) count = std::min(count, options.max_neighbours);
  return std::clamp<int64_t>(count, 1, items - 1);
}

std::vector<std::vector<int32_t>> HardSampleSets(const NeighbourSearch& text,
                                                 const NeighbourSearch& latent,
                                                 const data::UniformNonCooccurring& cooccurrence,
                                                 int64_t first, int64_t count, int64_t neighbours) {
  const at::Tensor both = at::cat(
      {text.Nearest(first, count, neighbours), latent.Nearest(first, count, neighbours)}, 1);
  std::vector<std::vector<int32_t>> sets(static_cast<size_t>(count));
  const int32_t* nearest = both.const_data_ptr<int32_t>();
  at::parallel_for(0, count, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int32_t* own = nearest + row * both.size(1);
      std::vector<int32_t> similar(own, own + both.size(1));
      std::sort(similar.begin(), similar.end());
      similar.erase(std::unique(similar.begin(), similar.end()), similar.end());
      const auto together = cooccurrence.Cooccurring(static_cast<int32_t>(first + row));
      std::set_difference(similar.begin(), similar.end(), together.begin(), together.end(),
                          std::back_inserter(sets[static_cast<size_t>(row)]));
    }
  });
  return sets;
}

absl::Status MineHardSamples(const data::Dataset& dataset, const at::Tensor& text_vectors,
                             const at::Tensor& latent_vectors, const MiningOptions& options,
                             const std::string& path,
                             const std::function<void(int64_t)>& progress) {
  const int64_t items = dataset.items();
  CHECK(text_vectors.size(0) == items && latent_vectors.size(0) == items);
  if (items < 2) return DataError("hard samples need at least two items, there are ", items);
  const int64_t neighbours = NeighbourCount(items, options);
  auto settings = nlohmann::ordered_json::parse(options.settings);
  settings["neighbours"] = neighbours;
  MIXREC_ASSIGN_OR_RETURN(
      data::HardSampleWriter writer,
      data::HardSampleWriter::Open(path, dataset, options.block_items, settings.dump()));
  const NeighbourSearch text(text_vectors, options.search), latent(latent_vectors, options.search);
  const data::UniformNonCooccurring cooccurrence(dataset);
  if (progress) progress(writer.next_item());
  while (writer.next_item() < items) {
    if (StopRequested()) {
      return StoppedError("mining stopped after ", writer.next_item(), " of ", items,
                          " items; run the same command again to go on");
    }
    const int64_t first = writer.next_item();
    const int64_t count = std::min<int64_t>(options.block_items, items - first);
    MIXREC_RETURN_IF_ERROR(
        writer.Append(HardSampleSets(text, latent, cooccurrence, first, count, neighbours)));
    if (progress) progress(writer.next_item());
  }
  return writer.Finish();
}

}  // namespace mixrec::mining
