// A key file's content, for who hands a key on without a file.
#pragma once

#include <string>

#include "net/curve_keys.h"

namespace mixrec::net {

std::string KeyFileText(const CurveKeys& keys);

}  // namespace mixrec::net
