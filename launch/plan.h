// What a training will take, told before it is begun.
#pragma once

#include <cstdint>

#include "launch/materials.h"
#include "worker/memory.h"
#include "worker/work.h"

namespace mixrec::launch {

// Shapes of the largest step with the materials' options. Needs the catalogue.
worker::MemoryInputs MemoryInputsOf(const Materials& materials);

// Of a trial of a search as the flags say, all epochs with their validations. Needs the catalogue.
worker::WorkInputs TrialWorkInputsOf(const Materials& materials);

// For --dry_run: the resolved flags, parameters, bytes and steps. `epochs` of `users` users. Needs
// the catalogue.
void PrintPlan(const Invocation& invocation, const Materials& materials, int64_t epochs,
               int64_t users);

}  // namespace mixrec::launch
