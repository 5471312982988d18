// The machine under the restricted unpickler: bytes, stack and memo. Every access is checked; the
// first failure is kept and later calls do nothing harmful. Private to the room.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/status.h"
#include "model/pytorch_bin_pickle.h"

namespace mixrec::model::pickle {

enum class Kind { kNone, kBool, kInteger, kText, kTuple, kDict, kGlobal, kStorage, kTensor };

// A Python object. Nodes live in one arena and point at one another freely, cycles included.
struct Node {
  Kind kind = Kind::kNone;
  int64_t integer = 0;                    // of a bool or an integer
  std::string_view text;                  // of a text; of a global "module name"
  std::vector<Node*> items;               // of a tuple; of a dict key, value, key, value...
  const PickledTensor* tensor = nullptr;  // of a tensor; of a storage without its view
};

class Machine {
 public:
  explicit Machine(std::string_view pickle) : pickle_(pickle) {}

 protected:
  template <typename... Parts>
  void Fail(const Parts&... parts) {
    if (status_.ok()) {
      status_ = DataError("the pickle at byte ", opcode_at_, ": ", parts...);
    }
  }

  // --- bytes ---
  std::string_view Take(size_t count) {
    if (count > pickle_.size() - at_) {
      Fail("truncated");
      at_ = pickle_.size();
      return {};
    }
    at_ += count;
    return pickle_.substr(at_ - count, count);
  }
  uint8_t Byte() {
    const std::string_view byte = Take(1);
    return byte.empty() ? 0 : static_cast<uint8_t>(byte[0]);
  }
  template <typename Integer>
  Integer Little() {
    Integer value = 0;
    const std::string_view bytes = Take(sizeof(value));
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }
  int64_t Long() {
    const std::string_view bytes = Take(Byte());
    if (bytes.size() > 8) {
      Fail("an integer of ", bytes.size(), " bytes is too long");
      return 0;
    }
    uint64_t value = !bytes.empty() && (bytes.back() & 0x80) != 0 ? ~uint64_t{0} : 0;
    for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
    return static_cast<int64_t>(value);
  }
  std::string_view Line() {
    const size_t end = pickle_.find('\n', at_);
    const std::string_view line =
        Take((end == std::string_view::npos ? pickle_.size() + 1 : end) - at_);
    Take(1);
    return line;
  }

  // --- stack ---
  Node* Push(Kind kind) {
    nodes_.emplace_back();
    nodes_.back().kind = kind;
    stack_.push_back(&nodes_.back());
    return stack_.back();
  }
  // Objects above the last MARK; there may be no MARK.
  size_t Reachable() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }
  Node* Pop() {
    const std::vector<Node*> last = PopLast(1);
    return last.empty() ? &nothing_ : last[0];
  }
  // Empty on failure.
  std::vector<Node*> PopLast(size_t count) {
    if (Reachable() < count) {
      Fail("too few objects on the stack");
      return {};
    }
    std::vector<Node*> items(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return items;
  }
  std::vector<Node*> PopToMark() {
    if (marks_.empty()) {
      Fail("no mark on the stack");
      return {};
    }
    std::vector<Node*> items = PopLast(Reachable());
    marks_.pop_back();
    return items;
  }
  Node* Top() {
    if (Reachable() > 0) return stack_.back();
    Fail("too few objects on the stack");
    return &nothing_;
  }

  // --- memo ---
  void Memoize(uint32_t key) { memo_[key] = Top(); }
  void Recall(uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) return Fail("memo entry ", key, " was never stored");
    stack_.push_back(found->second);
  }

  std::string_view pickle_;
  size_t at_ = 0, opcode_at_ = 0;
  absl::Status status_;
  Node nothing_;  // stands in for what is not there, once status_ has failed
  std::deque<Node> nodes_;
  std::vector<Node*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Node*> memo_;  // looked up only, never walked
};

}  // namespace mixrec::model::pickle
