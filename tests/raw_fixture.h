// Raw files in the manner of Amazon's, for tests.
#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace mixrec::data {

inline void WriteGzip(const std::string& path, const std::string& text) {
  gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())),
            static_cast<int>(text.size()));
  ASSERT_EQ(gzclose_w(file), Z_OK);
}

inline std::string ReviewLine(const std::string& user, const std::string& item, int64_t time,
                              double rating = 5) {
  return nlohmann::json{{"reviewerID", user},
                        {"asin", item},
                        {"overall", rating},
                        {"unixReviewTime", time},
                        {"reviewText", "fits \"well\"\tso far\n"},
                        {"style", {{"Size:", " Large"}, {"asin", "NOT_THIS"}}}}
             .dump() +
         "\n";
}

inline std::string ItemLine(const std::string& id, const std::string& title) {
  return nlohmann::json{{"asin", id},
                        {"title", title},
                        {"brand", "Maker &amp; Sons"},
                        {"category", {"Tools", "<b>Saws</b>", "</span></span>"}},
                        {"description", {"First.", "Second\tpart."}},
                        {"also_buy", {"X1", "X2"}}}
             .dump() +
         "\n";
}

}  // namespace mixrec::data
