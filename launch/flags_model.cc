// Flags about the model: the backbone, the DAMoE layers, the CF model, the losses' weights.
#include <gflags/gflags.h>

DEFINE_string(backbone, "",
              "Folder of an OPT checkpoint in the Hugging Face layout; it stays frozen");
DEFINE_string(mode, "mixrec",
              "mixrec: the model of the paper; base: MixRec_base; llmrec: no adapters; moe: both "
              "experts causal, no collaborative columns");
DEFINE_string(architecture, "",
              "3 bits a DAMoE layer from the bottom (causal expert, context expert, "
              "recommendation adapter), 0 serial and 1 parallel; empty: all serial");
DEFINE_int64(replace_every, 1, "Every r-th layer of the backbone becomes a DAMoE layer");
DEFINE_int64(bottleneck, 64, "Width of the adapters");
DEFINE_string(adapter_act, "none", "Activation inside the adapters: none, relu or gelu");
DEFINE_string(parallel_form, "literal",
              "Parallel adapters: literal, (o + A(a)) / 2 with the inner residual, as the paper "
              "says; or scaled, o + s W2 act(W1 a), without both");
DEFINE_double(parallel_scale, 1, "s of --parallel_form=scaled");
DEFINE_string(inject, "item", "Collaborative columns: none, user, item or user,item");
DEFINE_double(dropout, 0, "Dropout of the residual branches");
DEFINE_string(cf_model, "ncf", "Collaborative filtering model: ncf or mf");
DEFINE_int64(cf_gmf, 64, "Width of NCF's product part");
DEFINE_int64(cf_mlp, 64, "Width of NCF's embeddings for its MLP");
DEFINE_string(cf_hidden, "128,64", "Widths of the hidden layers of NCF's MLP");
DEFINE_int64(cf_mf, 128, "Width of MF's embeddings");
DEFINE_string(item_init, "random",
              "Start of the item projection: random, or states, the items' own [SEQ] states");
DEFINE_double(lambda_align, 0.2, "Weight of the alignment loss");
DEFINE_double(lambda_cl, 1e-3, "Weight of the contrastive loss");
DEFINE_double(lambda_cf, 0.1, "Weight of the collaborative filtering loss");
DEFINE_double(tau, 1, "Temperature of the contrastive loss");

DEFINE_int64(hidden, 128, "Hidden width of the language model");
DEFINE_int64(layers, 2, "Layers of the language model");
DEFINE_int64(heads, 0, "Attention heads; 0 for heads of width 64");
DEFINE_int64(ffn, 0, "Width of the feed-forward layers; 0 for 4 times --hidden");
DEFINE_int64(context, 192, "Tokens of a training sequence of the language model");
DEFINE_string(
    shape, "",
    "A published shape: opt-125m, opt-350m, opt-1.3b, opt-2.7b, opt-6.7b and so on. For "
    "pretrain only with --epochs=0 (random weights); for bench step also tiny; empty there "
    "for tiny and opt-125m");
DEFINE_string(dtype, "fp32", "Type of the weights written: fp32, fp16 or bf16");
