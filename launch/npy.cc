#include "launch/npy.h"

#include "common/file.h"

namespace mixrec::launch {
namespace {

// Magic, version, header length, header padded so that the values start at a multiple of 64.
std::string Preamble(const at::Tensor& tensor) {
  std::string shape;
  for (const int64_t extent : tensor.sizes()) shape += StrCat(extent, ", ");
  std::string header = StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (", shape, "), }");
  constexpr size_t kBefore = 10;
  while ((kBefore + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string preamble("\x93NUMPY\x01\x00", 8);
  preamble += static_cast<char>(header.size() & 0xFF);
  preamble += static_cast<char>(header.size() >> 8);
  return preamble + header;
}

}  // namespace

absl::Status WriteNpy(const std::string& path, const at::Tensor& tensor) {
  const at::Tensor values = tensor.to(at::kCPU).to(at::kFloat).contiguous();
  std::string content = Preamble(values);
  content.append(static_cast<const char*>(values.data_ptr()), values.nbytes());
  return WriteFileAtomic(path, content);
}

}  // namespace mixrec::launch
