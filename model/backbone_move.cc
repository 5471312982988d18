#include "model/backbone.h"

namespace mixrec::model {

void MoveBackbone(at::Device device, Backbone* backbone) {
  const auto move = [&](at::Tensor* tensor) {
    if (tensor->defined()) *tensor = tensor->to(device);
  };
  for (at::Tensor* tensor :
       {&backbone->word_embedding, &backbone->position_embedding, &backbone->project_in,
        &backbone->project_out, &backbone->final_ln_weight, &backbone->final_ln_bias,
        &backbone->sequence_start}) {
    move(tensor);
  }
  for (OptLayer& layer : backbone->layers) {
    for (at::Tensor* tensor :
         {&layer.qkv_weight, &layer.qkv_bias, &layer.out_weight, &layer.out_bias, &layer.fc1_weight,
          &layer.fc1_bias, &layer.fc2_weight, &layer.fc2_bias, &layer.ln1_weight, &layer.ln1_bias,
          &layer.ln2_weight, &layer.ln2_bias}) {
      move(tensor);
    }
  }
}

}  // namespace mixrec::model
