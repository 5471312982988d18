#include "tensor/initial_rows.h"

#include <ATen/Parallel.h>

#include "common/log.h"
#include "common/random.h"

namespace mixrec::tensor {

void FillInitialRows(uint64_t seed, const std::string& name, const std::vector<int64_t>& row_ids,
                     double stddev, at::Tensor rows) {
  CHECK(rows.is_cpu() && rows.scalar_type() == at::kFloat);
  CHECK(rows.is_contiguous() || (rows.dim() == 2 && rows.stride(1) == 1));
  CHECK_EQ(rows.size(0), static_cast<int64_t>(row_ids.size()));
  if (row_ids.empty()) return;
  const int64_t width = rows.numel() / rows.size(0);
  const uint64_t key = HashKey(seed, "initial value", name);
  float* values = rows.data_ptr<float>();
  at::parallel_for(0, rows.size(0), 64, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      RandomStream stream(HashKey(key, static_cast<uint64_t>(row_ids[row])));
      float* out = values + row * rows.stride(0);
      for (int64_t c = 0; c < width; ++c) out[c] = static_cast<float>(stddev * stream.Normal());
    }
  });
}

}  // namespace mixrec::tensor
