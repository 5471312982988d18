#include <algorithm>
#include <numeric>
#include <tuple>

#include "ps/protocol.h"

namespace mixrec::ps {

int64_t TableSpec::width() const {
  return std::accumulate(parts.begin(), parts.end(), int64_t{0},
                         [](int64_t sum, const PartSpec& part) { return sum + part.width; });
}

bool operator==(const TableSpec& a, const TableSpec& b) {
  const auto optimizer = [](const OptimizerOptions& o) {
    return std::make_tuple(o.kind, o.beta1, o.beta2, o.epsilon, o.weight_decay);
  };
  const auto fields = [](const TableSpec& spec) {
    return std::tie(spec.name, spec.rows, spec.partition, spec.dense, spec.seed);
  };
  return fields(a) == fields(b) && optimizer(a.optimizer) == optimizer(b.optimizer) &&
         std::equal(a.parts.begin(), a.parts.end(), b.parts.begin(), b.parts.end(),
                    [](const PartSpec& x, const PartSpec& y) {
                      return x.name == y.name && x.width == y.width && x.stddev == y.stddev;
                    });
}

}  // namespace mixrec::ps
