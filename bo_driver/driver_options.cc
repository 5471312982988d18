#include "bo_driver/driver_options.h"

namespace mixrec::bo_driver {
namespace {

struct NamedMethod {
  Method method;
  std::string_view name;
};
constexpr NamedMethod kMethods[] = {{Method::kAuto, "auto"},
                                    {Method::kPr, "pr"},
                                    {Method::kLocal, "local"},
                                    {Method::kClimb, "climb"},
                                    {Method::kRandom, "random"}};

}  // namespace

absl::StatusOr<Method> ParseMethod(std::string_view name) {
  for (const NamedMethod& known : kMethods) {
    if (known.name == name) return known.method;
  }
  return UsageError("unknown search method \"", name,
                    "\": expected auto, pr, local, climb or random");
}

std::string_view MethodName(Method method) {
  for (const NamedMethod& known : kMethods) {
    if (known.method == method) return known.name;
  }
  return "?";
}

}  // namespace mixrec::bo_driver
