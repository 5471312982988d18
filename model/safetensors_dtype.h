// The dtype names of safetensors, both ways. Private to the room.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <optional>
#include <string>
#include <utility>

namespace mixrec::model {

inline constexpr std::array<std::pair<const char*, at::ScalarType>, 10> kSafetensorsTypes = {{
    {"F32", at::kFloat},
    {"F16", at::kHalf},
    {"BF16", at::kBFloat16},
    {"F64", at::kDouble},
    {"I64", at::kLong},
    {"I32", at::kInt},
    {"I16", at::kShort},
    {"I8", at::kChar},
    {"U8", at::kByte},
    {"BOOL", at::kBool},
}};

inline std::optional<at::ScalarType> SafetensorsTypeOf(const std::string& name) {
  for (const auto& [text, type] : kSafetensorsTypes) {
    if (name == text) return type;
  }
  return std::nullopt;
}

inline std::optional<std::string> SafetensorsNameOf(at::ScalarType wanted) {
  for (const auto& [text, type] : kSafetensorsTypes) {
    if (wanted == type) return text;
  }
  return std::nullopt;
}

}  // namespace mixrec::model
