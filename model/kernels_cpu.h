// CPU implementations behind kernels.h; fp32, signatures and contracts as there.
#pragma once

#include "model/kernels.h"

namespace mixrec::model::cpu {

decltype(model::AttentionForward) AttentionForward;
decltype(model::AttentionBackward) AttentionBackward;
decltype(model::ResidualForward) ResidualForward;
decltype(model::ResidualBackward) ResidualBackward;
decltype(model::GateForward) GateForward;
decltype(model::GateBackward) GateBackward;
decltype(model::LayerNormForward) LayerNormForward;
decltype(model::LayerNormBackward) LayerNormBackward;

}  // namespace mixrec::model::cpu
