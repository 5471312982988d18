#include <cmath>
#include <limits>
#include <vector>

#include "tests/loops_fixture.h"

namespace mixrec::model::cpu {
namespace {

constexpr int64_t kRows = 61, kPromptRows = 5, kFirst = 9, kColumns = 3;

// A head's tensors, its segment, and what a plain implementation in fp64 makes of them.
class AttentionLoopsTest : public LoopsTest {
 protected:
  void SetUp() override {
    LoopsTest::SetUp();
    for (at::Tensor* tensor : {&q_, &k_, &v_, &d_out_, &out_}) *tensor = Strided(kRows, width());
    for (at::Tensor* tensor : {&column_k_, &column_v_}) *tensor = Strided(kColumns, width());
    log_sum_exp_ = at::zeros({kRows});
    query_rows_ = at::arange(kRows, at::kInt);
  }

  static Segment Causal() { return {kFirst, kRows, kFirst, kRows, kPromptRows, {-1, -1}, true}; }
  static Segment Context() { return {kFirst, kRows, kFirst, kRows, 2, {2, 0}, false}; }

  // Padding of the scratch is not a number: it must not be read.
  HeadInputs Inputs(const Segment& segment) {
    const int64_t keys = segment.shared + segment.key_end - segment.key_begin;
    scratch_ = at::full({loops().attention->scratch(width(), keys)},
                        std::numeric_limits<float>::quiet_NaN());
    return {width(),
            MatrixOf(q_),
            MatrixOf(k_),
            MatrixOf(v_),
            MatrixOf(column_k_),
            MatrixOf(column_v_),
            query_rows_.data_ptr<int32_t>(),
            scratch_.data_ptr<float>()};
  }
  HeadOutputs Outputs() { return {MatrixOf(out_), log_sum_exp_.data_ptr<float>(), 1}; }

  // Values and gradients must be the reference's.
  void Check(const Segment& segment);

  at::Tensor q_, k_, v_, column_k_, column_v_, d_out_, out_, log_sum_exp_, query_rows_, scratch_;
};

// Own rows and shared ones, shared first.
at::Tensor KeysOf(const Segment& segment, const at::Tensor& own, const at::Tensor& columns) {
  const at::Tensor shared =
      segment.causal ? own.narrow(0, 0, segment.shared)
                     : at::stack({columns[segment.columns[0]], columns[segment.columns[1]]});
  return at::cat({shared, own.narrow(0, segment.key_begin, segment.key_end - segment.key_begin)});
}

void AttentionLoopsTest::Check(const Segment& segment) {
  const std::vector<at::Tensor> leaves{Leaf(q_), Leaf(k_), Leaf(v_), Leaf(column_k_),
                                       Leaf(column_v_)};
  const int64_t queries = segment.query_end - segment.query_begin;
  const auto queries_of = [&](const at::Tensor& all) { return all.narrow(0, kFirst, queries); };
  at::Tensor scores = at::mm(queries_of(leaves[0]), KeysOf(segment, leaves[1], leaves[3]).t()) /
                      std::sqrt(static_cast<double>(width()));
  if (segment.causal) {
    const at::Tensor later = at::ones_like(scores).triu(segment.shared + 1).to(at::kBool);
    scores = scores.masked_fill(later, -std::numeric_limits<double>::infinity());
  }
  const at::Tensor out = at::mm(at::softmax(scores, 1), KeysOf(segment, leaves[2], leaves[4]));
  (out * queries_of(d_out_)).sum().backward();

  const HeadInputs inputs = Inputs(segment);
  loops().attention->forward(inputs, segment, Outputs());
  ExpectClose(queries_of(out_), out.detach(), "out");
  ExpectClose(queries_of(log_sum_exp_), at::logsumexp(scores.detach(), 1), "log sum exp");

  std::vector<at::Tensor> gradients;
  for (const at::Tensor& leaf : leaves) {
    gradients.push_back(at::ones(leaf.sizes(), at::kFloat));  // it is added to
  }
  const HeadGradients heads{MatrixOf(d_out_),       MatrixOf(gradients[0]), MatrixOf(gradients[1]),
                            MatrixOf(gradients[2]), MatrixOf(gradients[3]), MatrixOf(gradients[4])};
  loops().attention->backward(inputs, segment, Outputs(), heads);
  const char* names[] = {"d q", "d k", "d v", "d column k", "d column v"};
  for (size_t i = 0; i < leaves.size(); ++i) {
    const at::Tensor grad = leaves[i].grad();
    ExpectClose(gradients[i] - 1, grad.defined() ? grad : at::zeros_like(leaves[i]), names[i]);
  }
}

TEST_P(AttentionLoopsTest, CausalSegmentIsThePlainAttention) { Check(Causal()); }

TEST_P(AttentionLoopsTest, ContextSegmentIsThePlainAttention) { Check(Context()); }

TEST_P(AttentionLoopsTest, SameBitsWhateverTheScratchHeld) {
  const HeadInputs inputs = Inputs(Context());
  loops().attention->forward(inputs, Context(), Outputs());
  const at::Tensor first = out_.clone();
  loops().attention->forward(inputs, Context(), Outputs());  // beside what the first call left
  EXPECT_TRUE(at::equal(out_, first));
}

INSTANTIATE_TEST_SUITE_P(Versions, AttentionLoopsTest, AllLoops(64, 20), LoopsTestName);

}  // namespace
}  // namespace mixrec::model::cpu
