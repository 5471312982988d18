// TensorBoard event files: scalars only, no protobuf library. One file is a sequence of TFRecords
// (length, masked CRC32C of the length, bytes, masked CRC32C of the bytes), each an `Event` message
// of tensorflow/core/util/event.proto.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"

namespace mixrec {

// CRC-32 with the Castagnoli polynomial, as in iSCSI.
uint32_t Crc32c(std::string_view bytes);

// One record with its frame.
std::string FrameRecord(std::string_view bytes);

// The record every event file starts with. Times are seconds since 1970.
std::string EventFileHeader(double wall_time);

// One framed event with a scalar per (tag, value).
std::string ScalarEvent(double wall_time, int64_t step,
                        const std::vector<std::pair<std::string, double>>& values);

// events.out.tfevents.SECONDS.HOST.PID: TensorBoard reads a folder's files in the order of names.
std::string EventFileName(double wall_time);

}  // namespace mixrec
