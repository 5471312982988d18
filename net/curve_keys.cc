#include "net/curve_keys.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "common/file.h"
#include "net/key_file_text.h"

namespace mixrec::net {
namespace {

constexpr std::string_view kFirstLine = "mixrec cluster key 1\n";
constexpr size_t kKeySize = 40;
constexpr mode_t kOthers = S_IRWXG | S_IRWXO;

bool IsKey(const std::string& key) {
  std::array<uint8_t, 32> bytes;
  return key.size() == kKeySize && zmq_z85_decode(bytes.data(), key.c_str()) != nullptr;
}

absl::StatusOr<CurveKeys> ParseKeys(const std::string& path, const std::string& text) {
  CurveKeys keys;
  if (text.size() == kFirstLine.size() + 2 * (kKeySize + 1)) {
    keys.public_key = text.substr(kFirstLine.size(), kKeySize);
    keys.secret_key = text.substr(kFirstLine.size() + kKeySize + 1, kKeySize);
  }
  std::array<char, kKeySize + 1> derived{};
  if (!IsKey(keys.public_key) || !IsKey(keys.secret_key) || KeyFileText(keys) != text ||
      zmq_curve_public(derived.data(), keys.secret_key.c_str()) != 0 ||
      keys.public_key != derived.data()) {
    return DataError(path,
                     " is no key file of mixrec; copy the one that the servers use, or delete ",
                     "it to have a new one made");
  }
  return keys;
}

// A new file of mode 0600 with the whole text, or nothing: linked into its place when complete.
absl::Status WriteNewKeyFile(const std::string& path, const std::string& text) {
  const std::string temporary = StrCat(path, ".tmp.", ::getpid());
  ::unlink(temporary.c_str());
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return FailureError("cannot make the key file ", path, ": ", std::strerror(errno));
  const ssize_t written = ::write(file, text.data(), text.size());
  const bool whole = written == static_cast<ssize_t>(text.size()) && ::fsync(file) == 0;
  ::close(file);
  const bool placed = whole && (::link(temporary.c_str(), path.c_str()) == 0 || errno == EEXIST);
  const int error = errno;
  ::unlink(temporary.c_str());
  if (placed) return absl::OkStatus();
  return FailureError("cannot write the key file ", path, ": ", std::strerror(error));
}

}  // namespace

std::string KeyFileText(const CurveKeys& keys) {
  return StrCat(kFirstLine, keys.public_key, "\n", keys.secret_key, "\n");
}

absl::StatusOr<CurveKeys> NewCurveKeys() {
  std::array<char, kKeySize + 1> public_key{}, secret_key{};
  if (zmq_curve_keypair(public_key.data(), secret_key.data()) != 0) {
    return FailureError("this libzmq cannot make keys (built without CURVE): ",
                        zmq_strerror(zmq_errno()));
  }
  return CurveKeys{public_key.data(), secret_key.data()};
}

absl::StatusOr<CurveKeys> ReadCurveKeys(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && (info.st_mode & kOthers) != 0) {
    return UsageError("the key file ", path, " is open to other users; run: chmod 600 ", path);
  }
  MIXREC_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseKeys(path, text);
}

absl::StatusOr<CurveKeys> ReadOrMakeCurveKeys(const std::string& path) {
  if (!PathExists(path)) {
    MIXREC_ASSIGN_OR_RETURN(const CurveKeys keys, NewCurveKeys());
    MIXREC_RETURN_IF_ERROR(WriteNewKeyFile(path, KeyFileText(keys)));
  }
  return ReadCurveKeys(path);  // whoever's file it is
}

}  // namespace mixrec::net
