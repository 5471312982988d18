#include "mining/vector_file.h"

#include <algorithm>
#include <cstring>

#include "common/file.h"
#include "common/log.h"
#include "common/stop_signal.h"
#include "data/block_file.h"
#include "model/backbone.h"
#include "nlohmann/json.hpp"

namespace mixrec::mining {
namespace {

constexpr const char* kKind = "MIXRVECS";

data::BlockFileIdentity IdentityOf(const VectorFileOptions& options) {
  nlohmann::ordered_json header = {{"version", 1},
                                   {"rows", options.rows},
                                   {"block_rows", options.block_rows},
                                   {"made_from", nlohmann::ordered_json::parse(options.made_from)}};
  return {kKind, header.dump()};
}

std::string_view BytesOf(const at::Tensor& rows) {
  return {static_cast<const char*>(rows.const_data_ptr()), static_cast<size_t>(rows.nbytes())};
}

absl::Status MakeMissing(const VectorFileOptions& options, const MakeRows& make,
                         const std::function<void(int64_t)>& progress) {
  MIXREC_ASSIGN_OR_RETURN(data::BlockFileWriter writer,
                          data::BlockFileWriter::Open(options.path, IdentityOf(options)));
  const int64_t made_before = std::min(writer.blocks() * options.block_rows, options.rows);
  if (progress) progress(made_before);
  for (int64_t row = made_before; row < options.rows;) {
    const int64_t count = std::min(options.block_rows, options.rows - row);
    if (StopRequested()) {
      return StoppedError("stopped after ", row, " of ", options.rows, " vectors of ", options.path,
                          "; run the same command again to go on");
    }
    MIXREC_ASSIGN_OR_RETURN(const at::Tensor rows, make(row, count));
    CHECK(rows.dim() == 2 && rows.size(0) == count && rows.scalar_type() == at::kFloat);
    if (!rows.isfinite().all().item<bool>()) {
      return DataError("vectors ", row, " to ", row + count - 1, " of ", options.path,
                       " are not finite; a damaged encoder, or a precision too narrow for it");
    }
    MIXREC_RETURN_IF_ERROR(writer.Append(BytesOf(rows.contiguous())));
    row += count;
    if (progress) progress(row);
  }
  return writer.Finish();
}

absl::StatusOr<at::Tensor> Read(const VectorFileOptions& options, const data::BlockFile& file) {
  const int64_t size = static_cast<int64_t>(sizeof(float));
  int64_t bytes = 0;
  for (int64_t block = 0; block < file.blocks(); ++block) {
    bytes += static_cast<int64_t>(file.block(block).size());
  }
  if (options.rows == 0 || bytes == 0 || bytes % (options.rows * size) != 0) {
    return DataError(options.path, ": ", bytes, " bytes of vectors are no whole number of ",
                     options.rows, " rows; remove it");
  }
  MIXREC_RETURN_IF_ERROR(model::CheckHostMemory(options.path, bytes));
  at::Tensor vectors = at::empty({options.rows, bytes / options.rows / size}, at::kFloat);
  char* out = static_cast<char*>(vectors.mutable_data_ptr());
  for (int64_t block = 0; block < file.blocks(); ++block) {
    const std::string_view payload = file.block(block);
    std::memcpy(out, payload.data(), payload.size());
    out += payload.size();
  }
  return vectors;
}

}  // namespace

absl::StatusOr<at::Tensor> LoadOrMakeVectors(const VectorFileOptions& options, const MakeRows& make,
                                             const std::function<void(int64_t)>& progress) {
  CHECK(options.rows >= 1 && options.block_rows >= 1);
  const std::string header = IdentityOf(options).header;
  if (PathExists(options.path)) {
    MIXREC_ASSIGN_OR_RETURN(const data::BlockFile file, data::BlockFile::Open(options.path, kKind));
    if (file.header() == header) return Read(options, file);
  }
  MIXREC_RETURN_IF_ERROR(MakeMissing(options, make, progress));
  MIXREC_ASSIGN_OR_RETURN(const data::BlockFile file, data::BlockFile::Open(options.path, kKind));
  return Read(options, file);
}

}  // namespace mixrec::mining
