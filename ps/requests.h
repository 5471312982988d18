// What kind of request a message is.
#pragma once

#include <string>

#include "ps/protocol.h"

namespace mixrec::ps {

// Whether a request changes the state, so that it must reach the backup and happen once.
bool IsEffect(const Body& body);
// The namespace that a request concerns; empty for those that concern none.
std::string SpaceOf(const Body& body);

}  // namespace mixrec::ps
