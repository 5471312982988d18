#include "tests/browser.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "common/status.h"
#include "temporary_folder.h"

namespace mixrec {
namespace {

bool IsOnPath(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::string rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const size_t end = rest.find(':');
    if (::access(StrCat(rest.substr(0, end), "/", program).c_str(), X_OK) == 0) return true;
    rest = end == std::string::npos ? "" : rest.substr(end + 1);
  }
  return false;
}

}  // namespace

std::optional<Browser> Browser::Find() {
  for (const char* name :
       {"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"}) {
    if (IsOnPath(name)) return Browser(name);
  }
  return std::nullopt;
}

std::string Browser::Run(const std::vector<std::string>& options, const std::string& url) const {
  const TemporaryFolder profile;
  // No sandbox: containers do not let it make one. No host but this one can be reached.
  std::string command = StrCat(
      "timeout 60 ", program_, " --headless --no-sandbox --disable-gpu --disable-dev-shm-usage ",
      "--no-first-run --disable-extensions --hide-scrollbars --force-device-scale-factor=1 ",
      "--host-resolver-rules='MAP * ~NOTFOUND , EXCLUDE 127.0.0.1' --user-data-dir='",
      profile.path(), "'");
  for (const std::string& option : options) command += StrCat(" '", option, "'");
  command += StrCat(" '", url, "' 2>'", profile / "stderr", "'");
  std::string output;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return output;
  char buffer[65536];
  for (size_t got; (got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    output.append(buffer, got);
  }
  return ::pclose(pipe) == 0 ? output : "";
}

std::string Browser::Document(const std::string& url, int width, int height,
                              int milliseconds) const {
  return Run({"--dump-dom", StrCat("--window-size=", width, ",", height),
              StrCat("--virtual-time-budget=", milliseconds)},
             url);
}

bool Browser::Picture(const std::string& url, int width, int height, bool dark,
                      const std::string& path) const {
  std::filesystem::remove(path);
  Run({StrCat("--screenshot=", path), StrCat("--window-size=", width, ",", height),
       "--virtual-time-budget=2000",
       StrCat("--blink-settings=preferredColorScheme=", dark ? 0 : 1)},
      url);
  return std::filesystem::exists(path);
}

}  // namespace mixrec
