// Probabilistic reparameterization of the acquisition's argmax (paper Sec. 2.3.3 and Alg. 1;
// Daulton et al. 2022, "Bayesian optimization over discrete and mixed spaces via probabilistic
// reparameterization").
#pragma once

#include "bo_driver/acquisition.h"

namespace mixrec::bo_driver {

struct ReparameterizationOptions {
  int restarts = 8;
  int samples = 64;  // Monte Carlo samples a step and restart
  int steps = 60;    // of Adam
  double learning_rate = 0.05;
  double temperature = 0.1;  // theta = sigmoid((phi - 1/2) / temperature), phi in [0, 1]
  double baseline_decay = 0.7;
  // Work limit in multiply-adds; samples, then steps, are cut to stay below it, so that a
  // suggestion takes much the same time however many points the process has.
  double work = 1.2e8;
};

// Maximises E[acquisition(Z)], Z ~ p(Z | theta), over theta: bits are Bernoulli, ordinals
// categorical. The gradient is the score-function estimate with a moving-average baseline. The best
// untaken sample of each restart is kept and polished by 1-exchange (Climb).
Candidate Reparameterize(const AcquisitionProblem& problem,
                         const ReparameterizationOptions& options, RandomStream stream);

}  // namespace mixrec::bo_driver
