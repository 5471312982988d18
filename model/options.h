// What makes up a model around a frozen backbone (paper Sec. 2.2, 2.3; defaults of Sec. 3.1.4).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"

namespace mixrec::model {

enum class Mode {
  kMixrec,  // DAMoE layers: causal and context expert, gate, recommendation adapter
  kBase,    // MixRec_base (Variation 1): serial adapters after attention and FFN, causal mask only
  kLlmrec,  // no adapters: [SEQ], [ALIGN] and the item projection alone are trained
  kMoe,     // control of Sec. 3.5: DAMoE with both experts causal, no collaborative columns
};
enum class AdapterActivation { kNone, kRelu, kGelu };
enum class CfKind { kNcf, kMf };
// What a parallel adapter makes of the attention's (or the FFN's) output o and its input a.
enum class ParallelForm {
  kLiteral,  // the paper's: (o + A(a)) / 2, A with its inner "+ a" (model.md D7)
  kScaled,   // o + s W2 act(W1 a + b1) + b2: no inner residual, no halving (He et al., 2022)
};

struct ModelOptions {
  Mode mode = Mode::kMixrec;
  std::string architecture;  // 3 bits a DAMoE layer; empty: all serial
  int replace_every = 1;     // r: every r-th LLM layer is a DAMoE layer
  int64_t bottleneck = 64;
  AdapterActivation adapter_activation = AdapterActivation::kNone;
  ParallelForm parallel_form = ParallelForm::kLiteral;
  double parallel_scale = 1.0;  // s of the scaled form
  bool inject_user = false;
  bool inject_item = true;
  double dropout = 0.0;  // on the two residual branches of a DAMoE layer

  CfKind cf = CfKind::kNcf;
  int64_t cf_gmf = 64, cf_mlp = 64;            // widths of the NCF embeddings
  std::vector<int64_t> cf_hidden = {128, 64};  // NCF's MLP
  int64_t mf_width = 128;
  bool cf_frozen = false;  // rows come trained and stay; no BPR loss

  double lambda_align = 0.2;
  double lambda_cl = 1e-3;
  double lambda_cf = 0.1;
  double temperature = 1.0;  // tau of the contrastive loss

  // Width of a CF row e (paper: e_u, e_i): [gmf ; mlp] for NCF.
  int64_t cf_width() const { return cf == CfKind::kNcf ? cf_gmf + cf_mlp : mf_width; }
  bool has_damoe() const { return mode == Mode::kMixrec || mode == Mode::kMoe; }
  bool has_cf() const { return mode == Mode::kMixrec; }
  bool user_columns() const { return has_cf() && inject_user; }
  bool item_columns() const { return has_cf() && inject_item; }
};

// UsageError when a value is out of range or does not fit a backbone of `layers` LLM layers; fills
// in the default architecture.
absl::Status ValidateModelOptions(int64_t layers, ModelOptions* options);

absl::StatusOr<Mode> ParseMode(const std::string& text);
absl::StatusOr<AdapterActivation> ParseAdapterActivation(const std::string& text);
absl::StatusOr<CfKind> ParseCfKind(const std::string& text);
absl::StatusOr<ParallelForm> ParseParallelForm(const std::string& text);
std::string ParallelFormName(ParallelForm form);
std::string ModeName(Mode mode);

}  // namespace mixrec::model
