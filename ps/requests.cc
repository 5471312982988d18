#include "ps/requests.h"

#include <type_traits>

namespace mixrec::ps {
namespace {

template <typename T, typename = void>
struct HasKey : std::false_type {};
template <typename T>
struct HasKey<T, std::void_t<decltype(T::key)>> : std::true_type {};
template <typename T, typename = void>
struct HasSpace : std::false_type {};
template <typename T>
struct HasSpace<T, std::void_t<decltype(T::space)>> : std::true_type {};

template <typename... Kinds>
bool IsAnyOf(const Body& body) {
  return (std::holds_alternative<Kinds>(body) || ...);
}

}  // namespace

bool IsEffect(const Body& body) {
  return IsAnyOf<OpenSession, CreateTable, Push, SoftmaxBackward, Restore, DropNamespace>(body);
}

std::string SpaceOf(const Body& body) {
  return std::visit(
      [](const auto& request) -> std::string {
        using Request = std::decay_t<decltype(request)>;
        if constexpr (HasKey<Request>::value) {
          return request.key.space;
        } else if constexpr (HasSpace<Request>::value) {
          return request.space;
        } else {
          return "";
        }
      },
      body);
}

}  // namespace mixrec::ps
