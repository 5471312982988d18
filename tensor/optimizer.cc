#include "tensor/optimizer.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "common/log.h"

namespace mixrec::tensor {
namespace {

void CheckFlat(const at::Tensor& tensor, int64_t size) {
  CHECK(tensor.is_contiguous() && tensor.scalar_type() == at::kFloat && tensor.numel() == size);
}

}  // namespace

AdamWConstants::AdamWConstants(const AdamWOptions& options, double learning_rate, int64_t step)
    : beta1(static_cast<float>(options.beta1)),
      beta2(static_cast<float>(options.beta2)),
      epsilon(static_cast<float>(options.epsilon)),
      decay(static_cast<float>(1.0 - learning_rate * options.weight_decay)),
      step_size(static_cast<float>(learning_rate /
                                   (1.0 - std::pow(options.beta1, static_cast<double>(step))))),
      inverse_sqrt_correction2(static_cast<float>(
          1.0 / std::sqrt(1.0 - std::pow(options.beta2, static_cast<double>(step))))) {}

void AdamWSpan(const AdamWConstants& step, int64_t size, const float* gradient, float* value,
               float* first, float* second) {
  for (int64_t i = 0; i < size; ++i) {
    const float g = gradient[i];
    const float m = first[i] + (1.0f - step.beta1) * (g - first[i]);
    const float v = step.beta2 * second[i] + (1.0f - step.beta2) * g * g;
    first[i] = m;
    second[i] = v;
    const float denominator = std::sqrt(v) * step.inverse_sqrt_correction2 + step.epsilon;
    value[i] = value[i] * step.decay - step.step_size * m / denominator;
  }
}

void AdamWStep(const AdamWOptions& options, double learning_rate, int64_t step,
               const at::Tensor& gradient, at::Tensor value, at::Tensor first_moment,
               at::Tensor second_moment) {
  CHECK_GE(step, 1);
  const int64_t size = value.numel();
  for (const at::Tensor& tensor : {gradient, first_moment, second_moment}) CheckFlat(tensor, size);
  if (value.is_cuda()) {
    at::_fused_adamw_({value}, {gradient}, {first_moment}, {second_moment}, {},
                      {at::full({}, static_cast<double>(step), value.options())}, learning_rate,
                      options.beta1, options.beta2, options.weight_decay, options.epsilon,
                      /*amsgrad=*/false, /*maximize=*/false);
    return;
  }
  const AdamWConstants constants(options, learning_rate, step);
  const float* g = gradient.data_ptr<float>();
  float* p = value.data_ptr<float>();
  float* m = first_moment.data_ptr<float>();
  float* v = second_moment.data_ptr<float>();
  at::parallel_for(0, size, 16384, [&](int64_t first, int64_t last) {
    AdamWSpan(constants, last - first, g + first, p + first, m + first, v + first);
  });
}

void RowAdamWStep(const AdamWOptions& options, double learning_rate, const at::Tensor& row_ids,
                  const at::Tensor& gradient, at::Tensor value, at::Tensor first_moment,
                  at::Tensor second_moment, at::Tensor counts) {
  CHECK_EQ(gradient.size(0), row_ids.numel());
  CHECK_EQ(gradient.size(1), value.size(1));
  if (row_ids.numel() == 0) return;
  if (value.is_cuda()) {
    const at::Tensor step = counts.index_select(0, row_ids) + 1;
    counts.index_copy_(0, row_ids, step);
    const at::Tensor m = first_moment.index_select(0, row_ids).lerp(gradient, 1.0 - options.beta1);
    const at::Tensor v = second_moment.index_select(0, row_ids)
                             .mul(options.beta2)
                             .addcmul(gradient, gradient, 1.0 - options.beta2);
    first_moment.index_copy_(0, row_ids, m);
    second_moment.index_copy_(0, row_ids, v);
    const at::Tensor exponent = step.to(at::kDouble);
    const at::Tensor correction1 = (1.0 - at::pow(options.beta1, exponent)).to(at::kFloat);
    const at::Tensor correction2 = (1.0 - at::pow(options.beta2, exponent)).sqrt().to(at::kFloat);
    const at::Tensor denominator = (v.sqrt() / correction2.unsqueeze(1)).add_(options.epsilon);
    const at::Tensor moved = value.index_select(0, row_ids)
                                 .mul(1.0 - learning_rate * options.weight_decay)
                                 .sub(m / correction1.unsqueeze(1) / denominator * learning_rate);
    value.index_copy_(0, row_ids, moved);
    return;
  }
  const int64_t width = value.size(1);
  const int64_t* ids = row_ids.data_ptr<int64_t>();
  const float* g = gradient.data_ptr<float>();
  CHECK(gradient.is_contiguous() && value.is_contiguous());
  at::parallel_for(0, row_ids.numel(), 64, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t row = ids[i];
      CHECK(row >= 0 && row < value.size(0)) << "row " << row << " of " << value.size(0);
      const AdamWConstants constants(options, learning_rate, ++counts.data_ptr<int32_t>()[row]);
      const int64_t offset = row * width;
      AdamWSpan(constants, width, g + i * width, value.data_ptr<float>() + offset,
                first_moment.data_ptr<float>() + offset, second_moment.data_ptr<float>() + offset);
    }
  });
}

double ClipGradientNorm(at::Tensor flat_gradient, double max_norm) {
  const double norm =
      at::linalg_vector_norm(flat_gradient, 2, std::nullopt, false, at::kDouble).item<double>();
  if (max_norm > 0.0 && norm > max_norm) flat_gradient.mul_(max_norm / (norm + 1e-6));
  return norm;
}

double CosineLearningRate(double peak, int64_t step, int64_t total_steps, double warmup_fraction) {
  const int64_t warmup = std::max<int64_t>(
      1, static_cast<int64_t>(std::floor(warmup_fraction * static_cast<double>(total_steps))));
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  const int64_t rest = std::max<int64_t>(1, total_steps - warmup);
  const double progress =
      std::min(1.0, static_cast<double>(step - warmup) / static_cast<double>(rest));
  return peak * 0.5 * (1.0 + std::cos(M_PI * progress));
}

}  // namespace mixrec::tensor
