#include "tensor/products.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tensor/device_step.h"

namespace mixrec::tensor {
namespace {

void ExpectNear(const at::Tensor& found, const at::Tensor& expected) {
  ASSERT_EQ(found.sizes(), expected.sizes());
  EXPECT_LE((found - expected).abs().max().item<double>(), 1e-5);
}

TEST(Products, AddBiasAndAddendOnTheWayOut) {
  const at::Tensor x = at::randn({5, 7}), weight = at::randn({4, 7}), bias = at::randn({4});
  const at::Tensor addend = at::randn({5, 4}), plain = at::matmul(x, weight.t());
  ExpectNear(Product(x, weight), plain);
  ExpectNear(Product(x, weight, bias), plain + bias);
  ExpectNear(Product(x, weight, bias, addend), plain + bias + addend);
  ExpectNear(Product(x, weight, bias, addend, 0.5), 0.5 * plain + bias + addend);
  ExpectNear(Product(x, weight, {}, {}, 0.5), 0.5 * plain);
  const at::Tensor in_place = addend.clone();
  Product(x, weight, {}, in_place, in_place);
  ExpectNear(in_place, plain + addend);
}

TEST(Products, TakeStridedRows) {
  const at::Tensor wide = at::randn({5, 14}), x = wide.narrow(1, 7, 7), weight = at::randn({4, 7});
  const at::Tensor out = at::zeros({5, 9});
  Product(x, weight, {}, {}, out.narrow(1, 2, 4));
  ExpectNear(out.narrow(1, 2, 4), at::matmul(x, weight.t()));
  EXPECT_EQ(out.narrow(1, 0, 2).abs().max().item<float>(), 0);
}

TEST(Products, GradientsAreThoseOfAutograd) {
  const at::Tensor x = at::randn({6, 5}).requires_grad_(), weight = at::randn({8, 5});
  const at::Tensor bias = at::randn({8}), top = at::randn({3, 8});
  const at::Tensor y = at::relu(at::addmm(bias, x, weight.t()));
  const at::Tensor d_z = at::randn({6, 3});
  at::matmul(y, top.t()).backward(d_z);
  const at::NoGradGuard none;
  const at::Tensor relu = ReluProduct(x.detach(), weight, bias);
  ExpectNear(relu, y.detach());
  ExpectNear(InputGradient(ReluInputGradient(d_z, top, relu), weight), x.grad());
}

TEST(Products, ReluKeepsWhatIsNotANumber) {
  at::Tensor x = at::randn({3, 5});
  x[1].fill_(NAN);
  const at::Tensor relu = ReluProduct(x, at::randn({4, 5}), at::randn({4}));
  EXPECT_TRUE(at::isnan(relu[1]).all().item<bool>());
  EXPECT_FALSE(at::isnan(relu[0]).any().item<bool>());
}

TEST(Products, OuterProductsAreAdded) {
  const at::Tensor a = at::randn({6, 3}), b = at::randn({6, 4}), before = at::randn({3, 4});
  const at::Tensor gradient = before.clone();
  AddOuterProduct(a, b, gradient);
  ExpectNear(gradient, before + at::matmul(a.t(), b));
  const at::Tensor sums = at::ones({3});
  AddOuterProduct(a, b, gradient, -1, sums);
  ExpectNear(gradient, before);
  ExpectNear(sums, a.sum(0));
}

// Every product on the GPU against the CPU's, in both types; ragged and strided rows.
class ProductsCuda : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA GPU on this machine";
  }
  // Numbers that the tested type holds.
  static at::Tensor Random(at::IntArrayRef sizes) {
    return at::randn(sizes).to(GetParam()).to(at::kFloat);
  }
  static at::Tensor OnGpu(const at::Tensor& tensor) {
    return tensor.to(at::TensorOptions(at::kCUDA).dtype(GetParam()));
  }
  static void ExpectClose(const at::Tensor& found, const at::Tensor& expected) {
    ASSERT_EQ(found.sizes(), expected.sizes());
    const double bound = GetParam() == at::kFloat ? 1e-5 : 1e-2;
    const at::Tensor difference = found.cpu().to(at::kFloat) - expected;
    EXPECT_LE(difference.norm().item<double>(), bound * expected.norm().item<double>());
  }
};

TEST_P(ProductsCuda, EqualTheCpus) {
  const at::Tensor x = Random({333, 96}), weight = Random({256, 96}), bias = Random({256});
  const at::Tensor addend = Random({333, 256}), d_y = Random({333, 256});
  const at::Tensor gx = OnGpu(x), gw = OnGpu(weight), gb = OnGpu(bias), ga = OnGpu(addend);
  ExpectClose(Product(gx, gw), Product(x, weight));
  ExpectClose(Product(gx, gw, gb), Product(x, weight, bias));
  ExpectClose(Product(gx, gw, {}, ga, 0.25), Product(x, weight, {}, addend, 0.25));
  ExpectClose(Product(gx, gw, gb, ga), Product(x, weight, bias, addend));
  ExpectClose(InputGradient(OnGpu(d_y), gw, gx), InputGradient(d_y, weight, x));
  const at::Tensor gradient = at::randn({256, 96}), on_gpu = gradient.cuda();
  const at::Tensor sums = at::ones({256}), gpu_sums = sums.cuda();
  AddOuterProduct(d_y, x, gradient, 0.5, sums);
  AddOuterProduct(OnGpu(d_y), gx, on_gpu, 0.5, gpu_sums);
  ExpectClose(on_gpu, gradient);
  ExpectClose(gpu_sums, sums);
  const at::Tensor relu = ReluProduct(x, weight, bias), gpu_relu = ReluProduct(gx, gw, gb);
  ExpectClose(gpu_relu, relu);
  const at::Tensor top = Random({64, 256}), d_z = Random({333, 64});
  ExpectClose(ReluInputGradient(OnGpu(d_z), OnGpu(top), gpu_relu),
              ReluInputGradient(d_z, top, relu));
}

TEST_P(ProductsCuda, TakeStridedRowsAndReplaceTheirAddend) {
  const at::Tensor wide = Random({100, 128}), weight = Random({64, 64});
  const at::Tensor gpu = OnGpu(wide), gw = OnGpu(weight);
  const auto run = [](const at::Tensor& rows, const at::Tensor& w) {
    at::Tensor out = rows.narrow(1, 64, 64).clone();
    Product(rows.narrow(1, 0, 64), w, {}, out, out);
    InputGradient(out, w, {}, rows.narrow(1, 64, 64));
    return at::cat({out, rows}, 1);
  };
  ExpectClose(run(gpu, gw), run(wide, weight));
}

INSTANTIATE_TEST_SUITE_P(Types, ProductsCuda, testing::Values(at::kFloat, at::kBFloat16));

// The optimiser that reads its constants from tensors is the optimiser.
TEST(DeviceStep, IsAdamW) {
  const AdamWOptions options;
  at::Tensor value = at::randn({1000}), m = at::randn({1000}), v = at::rand({1000});
  at::Tensor value2 = value.clone(), m2 = m.clone(), v2 = v.clone();
  const at::Tensor gradient = at::randn({1000}), gradient2 = gradient.clone();
  const at::Tensor copy = at::zeros({1000}, at::kBFloat16);
  AdamWStep(options, 1e-2, 7, gradient, value, m, v);
  const auto constants = ScheduleOf(options, 1e-2, 7);
  const at::Tensor schedule = at::tensor(at::ArrayRef<float>(constants), at::kFloat);
  AdamWStep(schedule, at::ones({1}), gradient2, value2, m2, v2, copy);
  EXPECT_TRUE(at::equal(value, value2));
  EXPECT_TRUE(at::equal(v, v2));
  EXPECT_TRUE(at::equal(copy, value.to(at::kBFloat16)));
  EXPECT_EQ(gradient2.abs().max().item<float>(), 0);
  AdamWStep(schedule, at::full({1}, std::nan("")), gradient.clone(), value2, m2, v2, copy);
  EXPECT_TRUE(at::equal(value, value2));
}

TEST(DeviceStep, IsRowLazyAdamW) {
  const AdamWOptions options;
  const at::Tensor value = at::randn({6, 4}), m = at::randn({6, 4}), v = at::rand({6, 4});
  const at::Tensor rows2 = at::cat({value, m, v}, 1);
  const at::Tensor counts = at::arange(6, at::kInt), counts2 = counts.clone();
  const at::Tensor gradient = at::randn({2, 4});
  RowAdamWStep(options, 1e-2, at::tensor({4, 1}, at::kLong), gradient, value, m, v, counts);
  const auto constants = ScheduleOf(options, 1e-2, 1);
  RowAdamWStep(options, at::tensor(at::ArrayRef<float>(constants), at::kFloat), at::ones({1}),
               at::tensor({4, -1, 1}, at::kLong),
               at::stack({gradient[0], at::ones({4}), gradient[1]}), rows2, counts2);
  EXPECT_TRUE(at::equal(counts, counts2));
  EXPECT_LE((at::cat({value, m, v}, 1) - rows2).abs().max().item<double>(), 1e-6);
}

TEST(DeviceStep, OnTheGpuIsTheCpus) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA GPU on this machine";
  const AdamWOptions options;
  const auto constants = ScheduleOf(options, 1e-2, 7);
  const auto run = [&](at::Device device) {
    const auto generator = at::detail::createCPUGenerator(5);
    const auto random = [&](at::IntArrayRef sizes) {
      return at::empty(sizes).normal_(0, 1, generator).to(device);
    };
    const at::Tensor schedule = at::tensor(at::ArrayRef<float>(constants), at::kFloat).to(device);
    const at::Tensor value = random({1003}), m = random({1003}), v = random({1003}).square();
    const at::Tensor gradient = random({1003}), copy = value.to(at::kBFloat16);
    AdamWStep(schedule, at::ones({1}, value.options()), gradient, value, m, v, copy);
    // A stretch that begins anywhere, as a rank's part of the biases does.
    const at::Tensor second = random({1003});
    const auto part = [](const at::Tensor& all) { return all.narrow(0, 3, 499); };
    AdamWStep(schedule, at::ones({1}, value.options()), part(second), part(value), part(m), part(v),
              part(copy));
    const at::Tensor rows = random({6, 12}).abs(), row_gradient = random({3, 4});
    const at::Tensor counts = at::arange(6, at::kInt).to(device);
    RowAdamWStep(options, schedule, at::ones({1}, value.options()),
                 at::tensor({4, -1, 1}, at::kLong).to(device), row_gradient, rows, counts);
    ClipGradientNormOnDevice(row_gradient, 0.1);
    return at::cat({value, m, v, gradient, second, copy.to(at::kFloat), rows.flatten(),
                    row_gradient.flatten(), counts.to(at::kFloat)})
        .cpu();
  };
  EXPECT_LE((run(at::kCUDA) - run(at::kCPU)).abs().max().item<double>(), 1e-2);
  EXPECT_LE((run(at::kCUDA) - run(at::kCPU)).norm().item<double>(), 1e-2);
}

}  // namespace
}  // namespace mixrec::tensor
