// A real browser for tests: Chromium without a window.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace mixrec {

class Browser {
 public:
  // nullopt: none of the names that Chromium has is on the PATH.
  static std::optional<Browser> Find();

  // The page's document as text once its scripts have had `milliseconds` of their own time, in a
  // window of this size. Empty when the browser does not come to an end in a minute.
  std::string Document(const std::string& url, int width, int height, int milliseconds) const;
  // The picture, as a PNG file. `dark`: for a person who prefers dark pages.
  bool Picture(const std::string& url, int width, int height, bool dark,
               const std::string& path) const;

 private:
  explicit Browser(std::string program) : program_(std::move(program)) {}
  std::string Run(const std::vector<std::string>& options, const std::string& url) const;
  std::string program_;
};

}  // namespace mixrec
