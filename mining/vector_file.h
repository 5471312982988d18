// Vectors of items on disk, written block by block (data/block_file.h), so that a stopped encoding
// goes on where it was.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <string>

#include "common/status.h"

namespace mixrec::mining {

struct VectorFileOptions {
  std::string path;
  int64_t rows = 0;           // I
  int64_t block_rows = 1024;  // made, and written, at a time
  std::string made_from;  // JSON of an object: data, encoder, settings; another one starts afresh
};

// The rows [first, first + count) as [count, D] fp32 on the CPU.
using MakeRows = std::function<absl::StatusOr<at::Tensor>(int64_t first, int64_t count)>;

// All rows, [I, D] fp32: those of the file as far as it goes, the others made and written. The file
// is whole afterwards. `progress` gets the rows done, first those of earlier
// runs. A stop request ends it with a StoppedError
// after a block. DataError when the file is damaged or values are not finite.
absl::StatusOr<at::Tensor> LoadOrMakeVectors(const VectorFileOptions& options, const MakeRows& make,
                                             const std::function<void(int64_t)>& progress = {});

}  // namespace mixrec::mining
