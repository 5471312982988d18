// Text out of a shop's pages: what stands in raw item files as HTML. Private to data/.
#pragma once

#include <string>
#include <string_view>

namespace mixrec::data {

// The text as it reads: tags removed, entities decoded (twice where they were encoded twice), runs
// of white space and control characters made one space, both ends trimmed. A value of an atomic
// file: no tab, no line end. A `<` that begins no tag stays.
std::string PageText(std::string_view html);

}  // namespace mixrec::data
