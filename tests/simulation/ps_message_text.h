// Messages of the parameter server in words, for the trace of a simulation.
#pragma once

#include <string>

#include "net/actor.h"

namespace mixrec::ps {

std::string DescribePsMessage(const net::Message& message);

}  // namespace mixrec::ps
