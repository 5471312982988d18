// What a simulated search must have kept when it is over, and its messages in words.
#pragma once

#include <string>

#include "net/actor.h"
#include "tests/simulation/search_group.h"

namespace mixrec::scheduler {

// Every trial has ended, once, with the result that was told first. Returns the number of attempts.
int CheckJournal(const std::string& journal, Shared* shared);

// For the trace.
std::string DescribeSearchMessage(const net::Message& message);

}  // namespace mixrec::scheduler
