#include "tensor/device_step.h"

#include <cmath>

#include "common/log.h"

namespace mixrec::tensor {
namespace {

AdamWConstants ConstantsOf(const at::Tensor& schedule) {
  const float* s = schedule.data_ptr<float>();
  AdamWConstants constants;
  constants.beta1 = s[0];
  constants.beta2 = s[1];
  constants.epsilon = s[2];
  constants.decay = s[3];
  constants.step_size = s[4];
  constants.inverse_sqrt_correction2 = s[5];
  return constants;
}

void CheckSchedule(const at::Tensor& schedule, const at::Tensor& total) {
  CHECK(schedule.scalar_type() == at::kFloat && schedule.numel() == kScheduleSize);
  CHECK(total.scalar_type() == at::kFloat && total.numel() == 1);
}

}  // namespace

std::array<float, kScheduleSize> ScheduleOf(const AdamWOptions& options, double learning_rate,
                                            int64_t step) {
  const AdamWConstants c(options, learning_rate, step);
  return {c.beta1,
          c.beta2,
          c.epsilon,
          c.decay,
          c.step_size,
          c.inverse_sqrt_correction2,
          static_cast<float>(learning_rate)};
}

void AdamWStep(const at::Tensor& schedule, const at::Tensor& total, at::Tensor gradient,
               at::Tensor value, at::Tensor first_moment, at::Tensor second_moment,
               at::Tensor copy) {
  CheckSchedule(schedule, total);
  for (const at::Tensor& tensor : {gradient, value, first_moment, second_moment}) {
    CHECK(tensor.is_contiguous() && tensor.scalar_type() == at::kFloat &&
          tensor.numel() == value.numel());
  }
#ifdef MIXREC_CUDA
  if (value.is_cuda()) {
    return cuda::AdamWStep(schedule, total, gradient, value, first_moment, second_moment, copy);
  }
#endif
  if (std::isfinite(total.item<float>())) {
    AdamWSpan(ConstantsOf(schedule), value.numel(), gradient.data_ptr<float>(),
              value.data_ptr<float>(), first_moment.data_ptr<float>(),
              second_moment.data_ptr<float>());
  }
  gradient.zero_();
  if (copy.defined()) copy.copy_(value);
}

void RowAdamWStep(const AdamWOptions& options, const at::Tensor& schedule, const at::Tensor& total,
                  const at::Tensor& ids, const at::Tensor& gradient, at::Tensor rows,
                  at::Tensor counts) {
  CheckSchedule(schedule, total);
  const int64_t width = gradient.size(1);
  CHECK(gradient.size(0) == ids.numel() && rows.size(1) == 3 * width && rows.is_contiguous() &&
        gradient.is_contiguous() && counts.scalar_type() == at::kInt);
#ifdef MIXREC_CUDA
  if (rows.is_cuda()) {
    return cuda::RowAdamWStep(options, schedule, total, ids, gradient, rows, counts);
  }
#endif
  if (!std::isfinite(total.item<float>())) return;
  const int64_t* id = ids.data_ptr<int64_t>();
  const double learning_rate = schedule.data_ptr<float>()[kScheduleSize - 1];
  for (int64_t i = 0; i < ids.numel(); ++i) {
    if (id[i] < 0) continue;
    const AdamWConstants constants(options, learning_rate, ++counts.data_ptr<int32_t>()[id[i]]);
    float* row = rows.data_ptr<float>() + id[i] * 3 * width;
    AdamWSpan(constants, width, gradient.data_ptr<float>() + i * width, row, row + width,
              row + 2 * width);
  }
}

void ClipGradientNormOnDevice(at::Tensor flat_gradient, double max_norm) {
  if (max_norm <= 0) return;
  const at::Tensor norm =
      at::linalg_vector_norm(flat_gradient, 2, std::nullopt, false, at::kDouble);
  flat_gradient.mul_((max_norm / (norm + 1e-6)).clamp_max(1.0).to(at::kFloat));
}

}  // namespace mixrec::tensor
