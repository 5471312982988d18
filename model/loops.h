// The inner loops of the CPU's kernels, which are compiled twice, for every
// processor that the program runs on and for those with AVX-512, and chosen once by what the
// processor can do. The two differ in rounding only.
//
// An inline function that one of those sources shares with the rest of the program could be emitted
// with AVX-512 instructions, and the linker might keep that copy for all. So the sources
// (loops_attention.cc, loops_rows.cc) include nothing with functions but what they put into a
// namespace of their own, and this header has types alone; cmake/check_loops.cmake looks at each
// build's symbols.
//
// Widths and strides count floats. All functions may run on any thread; what they write is the
// caller's to keep apart.
#pragma once

#include <stdint.h>

namespace mixrec::model::cpu {

// Rows of floats, `stride` apart; null: there are none.
struct Matrix {
  float* data;
  int64_t stride;
};

// A stretch of queries with the same candidate keys: rows seen by all of them (columns, or the
// prompt), then own rows.
struct Segment {
  int64_t query_begin, query_end;
  int64_t key_begin, key_end;
  int64_t shared;      // number of shared keys: the first of the prompt's rows (causal) ...
  int64_t columns[2];  // ... or these columns (context)
  bool causal;         // a query sees own keys up to its own row only
};

// One head: its columns of every tensor.
struct HeadInputs {
  int64_t width;
  Matrix q, k, v, column_k, column_v;
  const int32_t* query_rows;  // stream row of every query
  float* scratch;             // HeadScratch(...) floats, on a boundary of 64 bytes
};

struct HeadOutputs {
  Matrix out;
  float* log_sum_exp;  // of every query, `lse_stride` apart
  int64_t lse_stride;
};

// Gradients are added to.
struct HeadGradients {
  Matrix d_out, d_q, d_k, d_v, d_column_k, d_column_v;
};

struct AttentionLoops {
  // Floats of scratch for segments of at most so many keys.
  int64_t (*scratch)(int64_t width, int64_t keys);
  void (*forward)(const HeadInputs& inputs, const Segment& segment, const HeadOutputs& outputs);
  void (*backward)(const HeadInputs& inputs, const Segment& segment, const HeadOutputs& outputs,
                   const HeadGradients& gradients);
};

// Dropout of rows: see DropoutBits.
struct MaskRows {
  const int64_t* keys;  // null: everything is kept
  uint64_t site;
  uint32_t threshold;
  float keep;  // 1 / (1 - probability)
};

// value = scale * (raw + bias + extra).
struct BranchRows {
  Matrix raw;
  const float* bias;  // null: none
  Matrix extra;       // null: none
  float scale;
};

struct ResidualRows {
  int64_t width;
  BranchRows branch;
  MaskRows mask;
  Matrix residual, y;
};

struct ResidualGradientRows {
  int64_t width;
  MaskRows mask;
  float scale;
  Matrix d_y, d_raw;  // may be the same
};

struct GateRows {
  int64_t width;
  BranchRows causal, context;
  MaskRows mask;
  const float* difference;  // [2 width] gate_weight[0] - gate_weight[1]
  float bias;               // gate_bias[0] - gate_bias[1]
  Matrix residual, y, beta;
};

struct GateGradientRows {
  int64_t width;
  Matrix q, p;  // the finished experts, and their scales
  float q_scale, p_scale;
  MaskRows mask;
  const float* difference;  // as above
  Matrix d_y, beta, d_q, d_p;
};

struct NormRows {
  int64_t width;
  const float *weight, *bias;
  Matrix x, y;
  float *mean, *rstd;
};

struct NormGradientRows {
  int64_t width;
  const float* weight;
  Matrix d_y, x, d_x;
  const float *mean, *rstd;
};

// Each takes rows [first, last); the contracts are those of kernels.h. `scratch` has `width`
// floats; `sums` are added to.
struct RowLoops {
  void (*residual)(const ResidualRows& rows, int64_t first, int64_t last, float* scratch);
  // sums [width]: of d_raw.
  void (*residual_gradient)(const ResidualGradientRows& rows, int64_t first, int64_t last,
                            float* sums);
  void (*gate)(const GateRows& rows, int64_t first, int64_t last, float* scratch);
  // sums [4 width + 1]: of d_q, of d_p, of the logit's gradient times [q ; p], of that gradient.
  void (*gate_gradient)(const GateGradientRows& rows, int64_t first, int64_t last, float* scratch,
                        float* sums);
  void (*norm)(const NormRows& rows, int64_t first, int64_t last);
  void (*norm_gradient)(const NormGradientRows& rows, int64_t first, int64_t last);
};

struct Loops {
  const char* name;
  const AttentionLoops* attention;
  const RowLoops* rows;
};

// For the processors that the whole program is built for.
const Loops& PortableLoops();
// Null where the processor has no AVX-512, LibTorch was told not to use it
// (ATEN_CPU_CAPABILITY=avx2), or the program was built without.
const Loops* Avx512Loops();
// The better of these; always the same one in a process.
const Loops& ChosenLoops();

}  // namespace mixrec::model::cpu
