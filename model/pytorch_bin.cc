#include "model/pytorch_bin.h"

#include <caffe2/serialize/inline_container.h>

#include <cstring>
#include <filesystem>
#include <unordered_map>

#include "common/file.h"
#include "model/pytorch_bin_pickle.h"

namespace mixrec::model {
namespace {

using caffe2::serialize::PyTorchStreamReader;

// A state dict's pickle takes some 200 bytes a tensor.
constexpr size_t kMaximumPickle = 4 << 20;

// The elements a view reaches lie inside its storage, and there are no more than the storage has
// (no views that repeat elements).
absl::Status CheckView(const PickledTensor& view) {
  const absl::Status outside =
      DataError("its shape ", ShapeText(view.sizes), ", strides ", ShapeText(view.strides),
                " and offset ", view.offset, " do not fit its storage of ", view.storage_numel);
  if (view.storage_numel < 0 || view.offset < 0 || view.sizes.size() != view.strides.size()) {
    return outside;
  }
  int64_t count = 1, last = view.offset;
  bool empty = false;
  for (size_t i = 0; i < view.sizes.size(); ++i) {
    const int64_t size = view.sizes[i], stride = view.strides[i];
    int64_t reach = 0;
    if (size < 0 || stride < 0) return outside;
    empty = empty || size == 0;
    if (__builtin_mul_overflow(count, std::max<int64_t>(size, 1), &count) ||
        __builtin_mul_overflow(std::max<int64_t>(size, 1) - 1, stride, &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return outside;
    }
  }
  if (empty) return count > (int64_t{1} << 40) ? outside : absl::OkStatus();
  return count > view.storage_numel || last >= view.storage_numel ? outside : absl::OkStatus();
}

}  // namespace

class PytorchBin::Impl {
 public:
  explicit Impl(const std::string& path) : path_(path) {}

  absl::Status Open() {
    MIXREC_RETURN_IF_ERROR(CheckSignature());
    std::string pickle;
    MIXREC_RETURN_IF_ERROR(Guard([&]() -> absl::Status {
      archive_ = std::make_unique<PyTorchStreamReader>(path_);
      if (!archive_->hasRecord("data.pkl")) return DataError(path_, ": no data.pkl in the archive");
      if (archive_->getRecordSize("data.pkl") > kMaximumPickle) {
        return DataError(path_, ": its pickle is too large for a state dict");
      }
      const auto [data, size] = archive_->getRecord("data.pkl");
      pickle.assign(static_cast<const char*>(data.get()), size);
      return CheckByteOrder();
    }));
    auto tensors = ReadPickledStateDict(pickle);
    if (!tensors.ok()) return DataError(path_, ": ", std::string(tensors.status().message()));
    for (auto& [name, view] : *tensors) MIXREC_RETURN_IF_ERROR(Add(name, std::move(view)));
    return absl::OkStatus();
  }

  const std::vector<std::string>& names() const { return names_; }
  const std::string& path() const { return path_; }
  const TensorInfo* Find(const std::string& name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? nullptr : &found->second.info;
  }

  absl::StatusOr<at::Tensor> Get(const std::string& name) {
    const auto found = entries_.find(name);
    if (found == entries_.end()) return DataError(path_, ": tensor \"", name, "\" is missing");
    const Entry& entry = found->second;
    at::Tensor tensor;
    const absl::Status status = Guard([&]() -> absl::Status {
      if (entry.info.numel() == 0) {
        tensor = at::empty(entry.info.shape, entry.info.dtype);
        return absl::OkStatus();
      }
      const auto [data, size] = archive_->getRecord("data/" + entry.view.storage);
      if (size < entry.bytes) return DataError("its record has only ", size, " bytes");
      // A byte that is neither 0 nor 1 is no bool: it is read as a number first.
      const bool is_bool = entry.info.dtype == at::kBool;
      const at::Tensor storage = at::from_blob(data.get(), {entry.view.storage_numel},
                                               is_bool ? at::kByte : entry.info.dtype);
      tensor = storage.as_strided(entry.view.sizes, entry.view.strides, entry.view.offset)
                   .clone(at::MemoryFormat::Contiguous);
      if (is_bool) tensor = tensor.ne(0);
      return absl::OkStatus();
    });
    if (!status.ok()) {
      return DataError(path_, ": tensor \"", name, "\": ", std::string(status.message()));
    }
    return tensor;
  }

 private:
  struct Entry {
    TensorInfo info;
    PickledTensor view;
    size_t bytes = 0;  // of its storage
  };

  // The wall to the archive reader, which throws.
  template <typename Function>
  absl::Status Guard(Function function) {
    try {
      return function();
    } catch (const std::bad_alloc&) {
      return MemoryError(path_, ": not enough memory to read it");
    } catch (const c10::Error& error) {
      return DataError(path_, ": damaged archive: ", FirstLine(error.what_without_backtrace()));
    } catch (const std::exception& error) {
      return DataError(path_, ": damaged archive: ", FirstLine(error.what()));
    }
  }
  static std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

  absl::Status CheckSignature() {
    MIXREC_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path_));
    file_size_ = file.bytes().size();
    if (file.bytes().substr(0, 4) == std::string_view("PK\3\4", 4)) return absl::OkStatus();
    return DataError(path_,
                     ": not a zip archive (files that PyTorch before 1.6 wrote are not supported: "
                     "load and save them again)");
  }

  absl::Status CheckByteOrder() {
    if (!archive_->hasRecord("byteorder")) return absl::OkStatus();
    if (archive_->getRecordSize("byteorder") > 16) return DataError(path_, ": bad byteorder");
    const auto [data, size] = archive_->getRecord("byteorder");
    const std::string_view order(static_cast<const char*>(data.get()), size);
    if (order == "little") return absl::OkStatus();
    return DataError(path_, ": its byte order is not little-endian");
  }

  absl::Status Add(const std::string& name, PickledTensor view) {
    const auto fail = [&](const std::string& what) {
      return DataError(path_, ": tensor \"", name, "\": ", what);
    };
    if (const absl::Status status = CheckView(view); !status.ok()) {
      return fail(std::string(status.message()));
    }
    Entry entry;
    if (__builtin_mul_overflow(static_cast<size_t>(view.storage_numel),
                               c10::elementSize(view.dtype), &entry.bytes)) {
      return fail("its storage is too large");
    }
    const std::string record = "data/" + view.storage;
    size_t size = 0;
    const absl::Status status = Guard([&]() -> absl::Status {
      if (!archive_->hasRecord(record)) return fail(StrCat("its record ", record, " is missing"));
      size = archive_->getRecordSize(record);
      return absl::OkStatus();
    });
    MIXREC_RETURN_IF_ERROR(status);
    // Records are stored uncompressed, so none is larger than the file.
    if (size != entry.bytes || size > file_size_) {
      return fail(StrCat("its record has ", size, " bytes, its storage needs ", entry.bytes));
    }
    entry.info.dtype = view.dtype;
    entry.info.shape = view.sizes;
    entry.view = std::move(view);
    if (!entries_.emplace(name, std::move(entry)).second) return fail("is there twice");
    names_.push_back(name);
    return absl::OkStatus();
  }

  std::string path_;
  size_t file_size_ = 0;
  std::unique_ptr<PyTorchStreamReader> archive_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, Entry> entries_;
};

PytorchBin::PytorchBin() = default;
PytorchBin::PytorchBin(PytorchBin&&) noexcept = default;
PytorchBin& PytorchBin::operator=(PytorchBin&&) noexcept = default;
PytorchBin::~PytorchBin() = default;

absl::StatusOr<PytorchBin> PytorchBin::Open(const std::string& path) {
  PytorchBin file;
  file.impl_ = std::make_unique<Impl>(path);
  MIXREC_RETURN_IF_ERROR(file.impl_->Open());
  return file;
}

std::vector<std::string> PytorchBin::names() const { return impl_->names(); }
const TensorInfo* PytorchBin::Find(const std::string& name) const { return impl_->Find(name); }
absl::StatusOr<at::Tensor> PytorchBin::Get(const std::string& name) { return impl_->Get(name); }
std::string PytorchBin::PathOf(const std::string&) const { return impl_->path(); }
std::vector<std::string> PytorchBin::files() const { return {impl_->path()}; }

}  // namespace mixrec::model
