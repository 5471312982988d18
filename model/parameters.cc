#include "model/parameters.h"

#include <numeric>

#include "common/log.h"

namespace mixrec::model {
namespace {

int64_t SizeOf(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

constexpr int64_t kAlignment = 16;  // floats; every tensor starts on a cache line

}  // namespace

DenseParameters::DenseParameters(std::vector<ParameterSpec> specs, at::Device device,
                                 at::ScalarType compute_dtype)
    : specs_(std::move(specs)) {
  int64_t size = 0;
  for (size_t i = 0; i < specs_.size(); ++i) {
    CHECK(index_.emplace(specs_[i].name, i).second) << specs_[i].name << " twice";
    offsets_.push_back(size);
    size += (SizeOf(specs_[i].shape) + kAlignment - 1) / kAlignment * kAlignment;
  }
  const auto options = at::TensorOptions().device(device).dtype(at::kFloat);
  flat_value_ = at::zeros({size}, options);
  flat_gradient_ = at::zeros({size}, options);
  flat_compute_ =
      compute_dtype == at::kFloat ? flat_value_ : at::zeros({size}, options.dtype(compute_dtype));
}

void DenseParameters::Initialise(uint64_t seed) {
  for (const ParameterSpec& spec : specs_) {
    if (spec.init_stddev == 0.0) {
      value(spec.name).zero_();
      continue;
    }
    at::Tensor rows = at::empty(spec.shape, at::kFloat);
    std::vector<int64_t> ids(static_cast<size_t>(spec.shape[0]));
    std::iota(ids.begin(), ids.end(), int64_t{0});
    FillInitialRows(seed, spec.name, ids, spec.init_stddev, rows);
    value(spec.name).copy_(rows);
  }
  RefreshCompute();
}

void DenseParameters::RefreshCompute() {
  if (flat_compute_.scalar_type() != at::kFloat) flat_compute_.copy_(flat_value_);
}

at::Tensor DenseParameters::View(const at::Tensor& flat, const std::string& name) const {
  const auto found = index_.find(name);
  CHECK(found != index_.end()) << "no parameter " << name;
  const ParameterSpec& spec = specs_[found->second];
  return flat.narrow(0, offsets_[found->second], SizeOf(spec.shape)).view(spec.shape);
}

std::pair<int64_t, int64_t> DenseParameters::RangeOf(const std::string& prefix) const {
  std::pair<int64_t, int64_t> range{0, 0};
  for (size_t i = 0; i < specs_.size(); ++i) {
    if (specs_[i].name.rfind(prefix, 0) != 0) continue;
    const bool is_first = range.first == range.second;
    CHECK(is_first || offsets_[i] == range.second) << prefix << " lies in two places";
    if (is_first) range.first = offsets_[i];
    range.second = i + 1 < offsets_.size() ? offsets_[i + 1] : size();
  }
  return range;
}

at::Tensor DenseParameters::value(const std::string& name) const { return View(flat_value_, name); }
at::Tensor DenseParameters::gradient(const std::string& name) const {
  return View(flat_gradient_, name);
}
at::Tensor DenseParameters::compute(const std::string& name) const {
  return View(flat_compute_, name);
}

}  // namespace mixrec::model
