// AdamW (Loshchilov & Hutter; paper Sec. 3.1.4): the one implementation, for dense flat parameters
// and for rows of tables. Decoupled decay on everything: p -= lr * decay * p before the Adam step.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace mixrec::tensor {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
};

// What the step number `step` (from 1) multiplies by.
struct AdamWConstants {
  AdamWConstants() = default;
  AdamWConstants(const AdamWOptions& options, double learning_rate, int64_t step);
  float beta1 = 0, beta2 = 0, epsilon = 0, decay = 0, step_size = 0, inverse_sqrt_correction2 = 0;
};

// One step on `size` floats of host memory, in place: what AdamWStep and RowAdamWStep do on a CPU.
void AdamWSpan(const AdamWConstants& constants, int64_t size, const float* gradient, float* value,
               float* first_moment, float* second_moment);

// One step on flat fp32 tensors of equal size, in place. `step` counts from 1.
void AdamWStep(const AdamWOptions& options, double learning_rate, int64_t step,
               const at::Tensor& gradient, at::Tensor value, at::Tensor first_moment,
               at::Tensor second_moment);

// Row-lazy AdamW (model.md D33): only the rows named in `row_ids` [R] int64 (distinct) are decayed
// and moved, and the bias correction counts a row's own updates.
//   gradient [R, E] fp32; value, first_moment, second_moment [rows, E] fp32; counts [rows] int32.
void RowAdamWStep(const AdamWOptions& options, double learning_rate, const at::Tensor& row_ids,
                  const at::Tensor& gradient, at::Tensor value, at::Tensor first_moment,
                  at::Tensor second_moment, at::Tensor counts);

// Scales gradients in place so that their L2 norm is at most `max_norm` (0: no clipping); returns
// the norm before clipping.
double ClipGradientNorm(at::Tensor flat_gradient, double max_norm);

// Linear warm-up over max(1, floor(warmup_fraction * total)) steps, then cosine to 0 (model.md
// D30). `step` counts from 0.
double CosineLearningRate(double peak, int64_t step, int64_t total_steps,
                          double warmup_fraction = 0.06);

}  // namespace mixrec::tensor
