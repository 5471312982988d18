#include "model/pytorch_bin_pickle.h"

#include <array>
#include <deque>
#include <optional>
#include <unordered_set>

#include "model/pytorch_bin_machine.h"

namespace mixrec::model {
namespace {

using pickle::Kind;
using pickle::Machine;
using pickle::Node;

// Objects may be used many times over the memo, so what a use copies is kept small.
constexpr size_t kMaximumRank = 8;
constexpr size_t kMaximumKey = 64;

constexpr std::string_view kOrderedDict = "collections\nOrderedDict";
constexpr std::string_view kRebuildTensor = "torch._utils\n_rebuild_tensor_v2";
constexpr std::string_view kRebuildParameter = "torch._utils\n_rebuild_parameter";

constexpr std::array<std::pair<std::string_view, at::ScalarType>, 10> kStorageTypes = {{
    {"torch\nFloatStorage", at::kFloat},
    {"torch\nHalfStorage", at::kHalf},
    {"torch\nBFloat16Storage", at::kBFloat16},
    {"torch\nDoubleStorage", at::kDouble},
    {"torch\nLongStorage", at::kLong},
    {"torch\nIntStorage", at::kInt},
    {"torch\nShortStorage", at::kShort},
    {"torch\nCharStorage", at::kChar},
    {"torch\nByteStorage", at::kByte},
    {"torch\nBoolStorage", at::kBool},
}};

std::optional<at::ScalarType> StorageType(std::string_view global) {
  for (const auto& [name, type] : kStorageTypes) {
    if (name == global) return type;
  }
  return std::nullopt;
}

bool IsAllowedGlobal(std::string_view global) {
  return global == kOrderedDict || global == kRebuildTensor || global == kRebuildParameter ||
         StorageType(global).has_value();
}

std::string Dotted(std::string_view global) {
  std::string text;
  for (const char c : global.substr(0, 120)) {
    text += c == '\n' ? '.' : (c < ' ' || c > '~') ? '?' : c;
  }
  return text;
}

class Unpickler : private Machine {
 public:
  using Machine::Machine;

  // The object that is on the stack at STOP.
  absl::StatusOr<Node*> Run() {
    while (status_.ok()) {
      opcode_at_ = at_;
      const uint8_t opcode = Byte();
      if (!status_.ok()) break;
      if (opcode == '.') {
        Node* result = Pop();
        MIXREC_RETURN_IF_ERROR(status_);
        return result;
      }
      Execute(opcode);
    }
    return status_;
  }

 private:
  void Execute(uint8_t opcode) {
    switch (opcode) {
      case 0x80:
        Take(1);
        return;  // PROTO
      case 0x95:
        Take(8);
        return;  // FRAME
      case '(':
        marks_.push_back(stack_.size());
        return;  // MARK
      case '0':
        Pop();
        return;  // POP
      case 'N':
        Push(Kind::kNone);
        return;
      case 0x88:
        Push(Kind::kBool)->integer = 1;
        return;
      case 0x89:
        Push(Kind::kBool);
        return;
      case 'K':
        Push(Kind::kInteger)->integer = Byte();
        return;  // BININT1
      case 'M':
        Push(Kind::kInteger)->integer = Little<uint16_t>();
        return;
      case 'J':
        Push(Kind::kInteger)->integer = Little<int32_t>();
        return;
      case 0x8a:
        Push(Kind::kInteger)->integer = Long();
        return;  // LONG1
      case 'X':
        Push(Kind::kText)->text = Take(Little<uint32_t>());
        return;
      case 0x8c:
        Push(Kind::kText)->text = Take(Byte());
        return;  // SHORT_BINUNICODE
      case 'q':
        Memoize(Byte());
        return;
      case 'r':
        Memoize(Little<uint32_t>());
        return;
      case 0x94:
        Memoize(static_cast<uint32_t>(memo_.size()));
        return;
      case 'h':
        Recall(Byte());
        return;
      case 'j':
        Recall(Little<uint32_t>());
        return;
      case '}':
        Push(Kind::kDict);
        return;
      case ')':
        Push(Kind::kTuple);
        return;
      case 't':
        Tuple(PopToMark());
        return;
      case 0x85:
        TupleOf(1);
        return;
      case 0x86:
        TupleOf(2);
        return;
      case 0x87:
        TupleOf(3);
        return;
      case 's':
        SetItems(PopLast(2));
        return;
      case 'u':
        SetItems(PopToMark());
        return;
      case 'c':
        Global();
        return;
      case 0x93:
        StackGlobal();
        return;
      case 'Q':
        PersistentId();
        return;
      case 'R':
        Reduce();
        return;
      case 'b':
        Build();
        return;
      default:
        Fail("the operation ", static_cast<int>(opcode), " is not one of a state dict");
    }
  }

  void Tuple(std::vector<Node*> items) { Push(Kind::kTuple)->items = std::move(items); }
  void TupleOf(size_t count) {
    std::vector<Node*> items = PopLast(count);
    Tuple(std::move(items));
  }
  void SetItems(const std::vector<Node*>& items) {
    Node* dict = Top();
    if (dict->kind != Kind::kDict || items.size() % 2 != 0) return Fail("items set on no dict");
    dict->items.insert(dict->items.end(), items.begin(), items.end());
  }
  void Global() {
    const size_t begin = at_;
    Line();
    const std::string_view name = Line();
    if (status_.ok()) PushGlobal(pickle_.substr(begin, at_ - begin - 1), name);
  }
  void PushGlobal(std::string_view global, std::string_view name) {
    if (name.empty() || !IsAllowedGlobal(global)) {
      return Fail("it asks for ", Dotted(global),
                  ", which a state dict does not need; refused (a malicious file?)");
    }
    Push(Kind::kGlobal)->text = global;
  }
  void StackGlobal() {
    const std::vector<Node*> pair = PopLast(2);
    if (pair.empty()) return;
    if (pair[0]->kind != Kind::kText || pair[1]->kind != Kind::kText) return Fail("not a name");
    joined_.push_back(std::string(pair[0]->text) + "\n" + std::string(pair[1]->text));
    PushGlobal(joined_.back(), pair[1]->text);
  }
  // ("storage", type, key, device, elements)
  void PersistentId() {
    const Node* id = Pop();
    const auto& items = id->items;
    if (id->kind != Kind::kTuple || items.size() != 5 || items[0]->kind != Kind::kText ||
        items[0]->text != "storage" || items[1]->kind != Kind::kGlobal ||
        !StorageType(items[1]->text) || items[2]->kind != Kind::kText ||
        items[2]->text.size() > kMaximumKey || items[4]->kind != Kind::kInteger) {
      return Fail("a persistent id that is no storage");
    }
    tensors_.emplace_back();
    PickledTensor& storage = tensors_.back();
    storage.storage = std::string(items[2]->text);
    storage.dtype = *StorageType(items[1]->text);
    storage.storage_numel = items[4]->integer;
    Push(Kind::kStorage)->tensor = &storage;
  }
  void Reduce() {
    const std::vector<Node*> call = PopLast(2);
    if (call.empty()) return;
    if (call[0]->kind != Kind::kGlobal || call[1]->kind != Kind::kTuple) {
      return Fail("a call of something that is no known function");
    }
    const std::vector<Node*>& arguments = call[1]->items;
    if (call[0]->text == kOrderedDict && arguments.empty()) {
      Push(Kind::kDict);
    } else if (call[0]->text == kRebuildTensor) {
      RebuildTensor(arguments);
    } else if (call[0]->text == kRebuildParameter && !arguments.empty() &&
               arguments[0]->kind == Kind::kTensor) {
      stack_.push_back(arguments[0]);
    } else {
      Fail("a call of ", Dotted(call[0]->text), " with unexpected arguments");
    }
  }
  // (storage, offset, sizes, strides, requires_grad, hooks[, metadata])
  void RebuildTensor(const std::vector<Node*>& arguments) {
    if (arguments.size() < 4 || arguments.size() > 7 || arguments[0]->kind != Kind::kStorage ||
        arguments[1]->kind != Kind::kInteger) {
      return Fail("_rebuild_tensor_v2 with unexpected arguments");
    }
    PickledTensor tensor = *arguments[0]->tensor;
    tensor.offset = arguments[1]->integer;
    if (!ReadIntegers(*arguments[2], &tensor.sizes) ||
        !ReadIntegers(*arguments[3], &tensor.strides)) {
      return Fail("a shape that is no tuple of integers");
    }
    tensors_.push_back(std::move(tensor));
    Push(Kind::kTensor)->tensor = &tensors_.back();
  }
  static bool ReadIntegers(const Node& tuple, std::vector<int64_t>* values) {
    if (tuple.kind != Kind::kTuple || tuple.items.size() > kMaximumRank) return false;
    for (const Node* item : tuple.items) {
      if (item->kind != Kind::kInteger) return false;
      values->push_back(item->integer);
    }
    return true;
  }
  // An OrderedDict's attributes (_metadata): nothing we need.
  void Build() {
    Pop();
    if (Top()->kind != Kind::kDict) Fail("attributes set on no dict");
  }

  std::deque<PickledTensor> tensors_;
  std::deque<std::string> joined_;
};

}  // namespace

absl::StatusOr<std::vector<std::pair<std::string, PickledTensor>>> ReadPickledStateDict(
    std::string_view pickle) {
  Unpickler unpickler(pickle);
  MIXREC_ASSIGN_OR_RETURN(const Node* top, unpickler.Run());
  if (top->kind != Kind::kDict) return DataError("the pickle holds no dict of tensors");
  std::vector<std::pair<std::string, PickledTensor>> tensors;
  std::unordered_set<std::string_view> seen;
  for (size_t i = 0; i < top->items.size(); i += 2) {
    const Node *key = top->items[i], *value = top->items[i + 1];
    if (key->kind != Kind::kText || value->kind != Kind::kTensor) continue;
    if (!seen.insert(key->text).second) {
      return DataError("the pickle holds the tensor \"", key->text.substr(0, 200), "\" twice");
    }
    tensors.emplace_back(std::string(key->text), *value->tensor);
  }
  return tensors;
}

}  // namespace mixrec::model
