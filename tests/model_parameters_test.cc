// What a model is told, and what its parameters begin with.
#include <gtest/gtest.h>

#include "model/options.h"
#include "model/parameters.h"

namespace mixrec::model {
namespace {

TEST(ValidateModelOptions, NamesTheFlagThatDoesNotFit) {
  ModelOptions options;
  options.architecture = "0101";
  EXPECT_NE(ValidateModelOptions(2, &options).message().find("expected 6"),
            absl::string_view::npos);
  options = ModelOptions();
  options.replace_every = 3;
  EXPECT_NE(ValidateModelOptions(2, &options).message().find("--replace_every"),
            absl::string_view::npos);
}

TEST(DenseParameters, InitialValuesDependOnSeedAndNameOnly) {
  const std::vector<ParameterSpec> specs = {{"a", {3, 4}, 1.0}, {"b", {3, 4}, 1.0}};
  DenseParameters both(specs, at::kCPU, at::kFloat);
  DenseParameters one({specs[1]}, at::kCPU, at::kFloat);
  both.Initialise(7);
  one.Initialise(7);
  EXPECT_TRUE(at::equal(both.value("b"), one.value("b")));
  EXPECT_FALSE(at::equal(both.value("a"), both.value("b")));
  one.Initialise(8);
  EXPECT_FALSE(at::equal(both.value("b"), one.value("b")));
}

}  // namespace
}  // namespace mixrec::model
