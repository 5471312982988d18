#include "worker/split_softmax.h"

#include <algorithm>
#include <numeric>

#include "tensor/from_host.h"
#include "tensor/products.h"
#include "tensor/softmax.h"

namespace mixrec::worker {
namespace {

constexpr float kNoMaximum = -1e38f;  // of no items: finite, so that differences are numbers

// `rows` of them, zeros behind.
at::Tensor Padded(const at::Tensor& tensor, int64_t rows) {
  std::vector<int64_t> sizes = tensor.sizes().vec();
  sizes[0] = rows;
  at::Tensor padded = at::zeros(sizes, tensor.options());
  padded.narrow(0, 0, tensor.size(0)).copy_(tensor);
  return padded;
}

// Where rank r's k-th state lies when every rank has room for `most`.
at::Tensor PlacesOf(const std::vector<int64_t>& states_of_ranks, int64_t most, at::Device device) {
  std::vector<int64_t> places;
  for (size_t rank = 0; rank < states_of_ranks.size(); ++rank) {
    for (int64_t k = 0; k < states_of_ranks[rank]; ++k) {
      places.push_back(static_cast<int64_t>(rank) * most + k);
    }
  }
  return tensor::ToDevice(at::tensor(at::ArrayRef<int64_t>(places), at::kLong), device);
}

}  // namespace

// Some states' logits of this rank's items, on their way to gradients.
struct SplitSoftmax::Logits {
  at::Tensor values;   // [m, J] fp32: logits, then exponentials of their distance to the maximum
  at::Tensor maximum;  // [m]
  at::Tensor column;   // [m] int64: of the label, wherever it is, clamped
  at::Tensor owned;    // [m] fp32: 1 where the label is one of the slice

  Logits(const at::Tensor& states, const ItemSlice& slice, const at::Tensor& labels,
         int64_t first_item)
      : values(tensor::ItemScores(states, slice.weight, slice.bias)) {
    const int64_t items = slice.weight.size(0);
    const at::Tensor place = labels - first_item;
    owned = place.ge(0).logical_and(place.lt(items)).to(at::kFloat);
    column = place.clamp(0, std::max<int64_t>(0, items - 1)).unsqueeze(1);
  }
  bool empty() const { return values.size(1) == 0; }

  // [3, m]: maximum, sum of exponentials, the label's logit or 0.
  at::Tensor Statistics() {
    if (empty()) {
      maximum = at::full_like(owned, kNoMaximum);
      return at::stack({maximum, at::zeros_like(owned), at::zeros_like(owned)});
    }
    const at::Tensor label = values.gather(1, column).squeeze(1);
    maximum = values.amax(1);
    values.sub_(maximum.unsqueeze(1)).exp_();
    return at::stack({maximum, values.sum(1), at::where(owned.gt(0), label, 0)});
  }

  // weight * (softmax - onehot).
  at::Tensor Gradient(const at::Tensor& log_sum_exp, const at::Tensor& weights) {
    if (empty()) return values;
    values.mul_(((maximum - log_sum_exp).exp() * weights).unsqueeze(1));
    values.scatter_add_(1, column, (-owned * weights).unsqueeze(1));
    return values;
  }
};

SplitSoftmax::SplitSoftmax(collective::Group* group, int64_t items)
    : group_(group), items_(items), block_((items + group->size() - 1) / group->size()) {}

absl::StatusOr<SplitSoftmax::States> SplitSoftmax::GatherStates(
    int64_t step, const std::vector<int64_t>& states_of_ranks, const at::Tensor& states,
    const at::Tensor& labels, const at::Tensor& weights) {
  const int64_t ranks = group_->size(), width = states.size(1);
  States all;
  all.most = *std::max_element(states_of_ranks.begin(), states_of_ranks.end());
  const at::Tensor marks =
      at::stack({labels.to(at::kInt), weights.contiguous().view(at::kInt)}, /*dim=*/1);
  at::Tensor all_states = at::empty({ranks, all.most, width}, states.options());
  at::Tensor all_marks = at::empty({ranks, all.most, 2}, marks.options());
  const std::string what = StrCat("the states of step ", step);
  const auto first = group_->StartAllGather(Padded(states, all.most), all_states, what);
  const auto second = group_->StartAllGather(Padded(marks, all.most), all_marks, what);
  MIXREC_RETURN_IF_ERROR(group_->Wait(first));
  MIXREC_RETURN_IF_ERROR(group_->Wait(second));
  all.places = PlacesOf(states_of_ranks, all.most, states.device());
  all.states = all_states.view({-1, width}).index_select(0, all.places);
  const at::Tensor chosen = all_marks.view({-1, 2}).index_select(0, all.places).t().contiguous();
  all.labels = chosen[0].to(at::kLong);
  all.weights = chosen[1].view(at::kFloat);
  return all;
}

// [m]; `values` [m] become the cross-entropies.
absl::StatusOr<at::Tensor> SplitSoftmax::LogSumExp(int64_t step, Logits* logits,
                                                   at::Tensor values) {
  const at::Tensor mine = logits->Statistics();
  at::Tensor all = at::empty({group_->size(), 3, mine.size(1)}, mine.options());
  MIXREC_RETURN_IF_ERROR(group_->AllGather(mine, all, StrCat("the softmax of step ", step)));
  const at::Tensor maxima = all.select(1, 0);
  const at::Tensor maximum = maxima.amax(0);
  const at::Tensor sum = (all.select(1, 1) * (maxima - maximum).exp()).sum(0);
  at::Tensor log_sum_exp = maximum + sum.log();
  values.copy_(log_sum_exp - all.select(1, 2).sum(0));
  return log_sum_exp;
}

absl::StatusOr<CrossEntropies> SplitSoftmax::CrossEntropy(
    int64_t step, const std::vector<int64_t>& states_of_ranks, const at::Tensor& states,
    const at::Tensor& labels, const at::Tensor& weights, ItemSlice slice) {
  MIXREC_ASSIGN_OR_RETURN(const States all,
                          GatherStates(step, states_of_ranks, states, labels, weights));
  const int64_t ranks = group_->size(), width = states.size(1), count = all.states.size(0);
  at::Tensor values = at::empty({count}, slice.bias.options());
  at::Tensor d_all = at::zeros({ranks * all.most, width}, slice.bias.options());
  const int64_t chunk = tensor::SoftmaxChunkRows(states.device(), items_ / ranks);
  for (int64_t first = 0; first < count; first += chunk) {
    const int64_t rows = std::min(chunk, count - first);
    const at::Tensor part = all.states.narrow(0, first, rows);
    Logits logits(part, slice, all.labels.narrow(0, first, rows), first_item());
    MIXREC_ASSIGN_OR_RETURN(const at::Tensor log_sum_exp,
                            LogSumExp(step, &logits, values.narrow(0, first, rows)));
    const at::Tensor d_logits =
        logits.Gradient(log_sum_exp, all.weights.narrow(0, first, rows)).to(part.scalar_type());
    if (logits.empty()) continue;
    slice.d_bias.add_(d_logits.sum(0, false, at::kFloat));
    tensor::AddOuterProduct(d_logits, part, slice.d_weight);
    d_all.index_copy_(0, all.places.narrow(0, first, rows),
                      tensor::InputGradient(d_logits, slice.weight).to(at::kFloat));
  }
  at::Tensor mine = at::empty({all.most, width}, d_all.options());
  MIXREC_RETURN_IF_ERROR(group_->ReduceScatter(d_all.view({ranks, all.most, width}), mine,
                                               StrCat("the states' gradients of step ", step)));
  const auto before = states_of_ranks.begin() + group_->rank();
  const int64_t first = std::accumulate(states_of_ranks.begin(), before, int64_t{0});
  return CrossEntropies{values.narrow(0, first, states.size(0)),
                        mine.narrow(0, 0, states.size(0)).to(states.scalar_type())};
}

absl::Status SplitSoftmax::GatherRows(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> gathered;
  std::vector<collective::Group::Ticket> tickets;
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor mine = tensor.narrow(0, first_item(), last_item() - first_item());
    std::vector<int64_t> sizes = tensor.sizes().vec();
    sizes[0] = group_->size() * block_;
    gathered.push_back(at::empty(sizes, tensor.options()));
    sizes[0] = block_;
    sizes.insert(sizes.begin(), group_->size());
    tickets.push_back(group_->StartAllGather(Padded(mine, block_), gathered.back().view(sizes),
                                             "the item projection"));
  }
  for (size_t k = 0; k < tensors.size(); ++k) {
    MIXREC_RETURN_IF_ERROR(group_->Wait(tickets[k]));
    at::Tensor tensor = tensors[k];
    tensor.copy_(gathered[k].narrow(0, 0, items_));
  }
  return absl::OkStatus();
}

}  // namespace mixrec::worker
