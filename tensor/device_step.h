// The optimiser for steps that are captured once and replayed: what changes from step to step is
// read from the device, nothing waits for it, and nothing moves when the step's loss is not finite.
// fp32 throughout. On the CPU the reference.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>

#include "tensor/optimizer.h"

namespace mixrec::tensor {

// What a step multiplies by: the fields of AdamWConstants in their order, then the learning rate.
inline constexpr int64_t kScheduleSize = 7;
std::array<float, kScheduleSize> ScheduleOf(const AdamWOptions& options, double learning_rate,
                                            int64_t step);

// AdamWStep with constants from `schedule` [kScheduleSize]; `total`: the loss, a scalar. The
// gradient becomes zeros; `copy`, unless undefined, the new values in its own type.
void AdamWStep(const at::Tensor& schedule, const at::Tensor& total, at::Tensor gradient,
               at::Tensor value, at::Tensor first_moment, at::Tensor second_moment,
               at::Tensor copy);

// RowAdamWStep likewise. ids [R] int64, distinct but for -1: none; gradient [R, E]; rows [., 3 E]:
// values, first and second moments side by side; counts [.] int32.
void RowAdamWStep(const AdamWOptions& options, const at::Tensor& schedule, const at::Tensor& total,
                  const at::Tensor& ids, const at::Tensor& gradient, at::Tensor rows,
                  at::Tensor counts);

// Scales the gradient so that its L2 norm is at most `max_norm`, as ClipGradientNorm does.
void ClipGradientNormOnDevice(at::Tensor flat_gradient, double max_norm);

namespace cuda {

// Tensors are contiguous and on one GPU.
void AdamWStep(const at::Tensor& schedule, const at::Tensor& total, at::Tensor gradient,
               at::Tensor value, at::Tensor first_moment, at::Tensor second_moment,
               at::Tensor copy);
void RowAdamWStep(const AdamWOptions& options, const at::Tensor& schedule, const at::Tensor& total,
                  const at::Tensor& ids, const at::Tensor& gradient, at::Tensor rows,
                  at::Tensor counts);

}  // namespace cuda
}  // namespace mixrec::tensor
