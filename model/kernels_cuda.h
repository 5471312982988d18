// CUDA implementations behind kernels.h; fp32 or bf16 activations (accumulated in fp32) on the
// current stream of their device. Signatures and contracts as there. Every result is a pure
// function of its inputs: nothing is summed with atomics, so runs repeat bit by bit.
//
// Biases, the gate's and the layer norm's weights may be fp32 or bf16 whatever the activations are.
#pragma once

#include "model/kernels.h"

namespace mixrec::model::cuda {

decltype(model::AttentionForward) AttentionForward;
decltype(model::AttentionBackward) AttentionBackward;
decltype(model::ResidualForward) ResidualForward;
decltype(model::ResidualBackward) ResidualBackward;
decltype(model::GateForward) GateForward;
decltype(model::GateBackward) GateBackward;
decltype(model::LayerNormForward) LayerNormForward;
decltype(model::LayerNormBackward) LayerNormBackward;

}  // namespace mixrec::model::cuda
