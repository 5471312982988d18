#include "collective/mpi_transport.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "common/log.h"

namespace mixrec::collective {
namespace {

constexpr int kControlTag = 0;  // operations' tags are positive
constexpr size_t kLargestMessage = size_t{1} << 28;

absl::Status StatusOf(int error, const char* what) {
  if (error == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(error, text, &length);
  return FailureError(what, ": ", std::string(text, static_cast<size_t>(length)));
}

class MpiTransport : public Transport {
 public:
  MpiTransport() {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    ListenForControl();
  }
  ~MpiTransport() override {
    MPI_Cancel(&control_);
    MPI_Wait(&control_, MPI_STATUS_IGNORE);
    MPI_Finalize();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  Request Send(int to, int tag, const void* bytes, size_t size) override {
    return Parts(size, [&](size_t first, int count, MPI_Request* request) {
      return MPI_Isend(static_cast<const char*>(bytes) + first, count, MPI_BYTE, to, tag,
                       MPI_COMM_WORLD, request);
    });
  }

  Request Receive(int from, int tag, void* bytes, size_t size) override {
    const Request request = Parts(size, [&](size_t first, int count, MPI_Request* part) {
      return MPI_Irecv(static_cast<char*>(bytes) + first, count, MPI_BYTE, from, tag,
                       MPI_COMM_WORLD, part);
    });
    requests_[request].receives = true;
    return request;
  }

  absl::StatusOr<bool> Test(Request request) override {
    const auto found = requests_.find(request);
    CHECK(found != requests_.end());
    Parted& parted = found->second;
    MIXREC_RETURN_IF_ERROR(StatusOf(parted.error, "MPI"));
    int done = 0;
    const int error = MPI_Testall(static_cast<int>(parted.parts.size()), parted.parts.data(), &done,
                                  MPI_STATUSES_IGNORE);
    MIXREC_RETURN_IF_ERROR(StatusOf(error, "MPI"));
    if (done != 0) requests_.erase(found);
    return done != 0;
  }

  void CancelReceipts() override {
    for (auto& [number, parted] : requests_) {
      if (!parted.receives) continue;
      for (MPI_Request& part : parted.parts) {
        if (part == MPI_REQUEST_NULL) continue;
        MPI_Cancel(&part);
        MPI_Request_free(&part);
      }
      parted.parts.clear();
    }
  }

  // A copy goes out, and is never waited for: who is told may not be there any more.
  void SendControl(int to, const Control& control) override {
    outgoing_.push_back(std::make_unique<Control>(control));
    MPI_Request request;
    MPI_Isend(outgoing_.back().get(), sizeof(Control), MPI_BYTE, to, kControlTag, MPI_COMM_WORLD,
              &request);
    MPI_Request_free(&request);
  }

  std::optional<std::pair<int, Control>> TakeControl() override {
    int done = 0;
    MPI_Status status;
    if (MPI_Test(&control_, &done, &status) != MPI_SUCCESS || done == 0) return std::nullopt;
    auto message = std::make_pair(status.MPI_SOURCE, incoming_);
    ListenForControl();
    return message;
  }

  void Idle(int microseconds) override {
    std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
  }

 private:
  struct Parted {
    std::vector<MPI_Request> parts;
    int error = MPI_SUCCESS;
    bool receives = false;
  };

  void ListenForControl() {
    MPI_Irecv(&incoming_, sizeof(Control), MPI_BYTE, MPI_ANY_SOURCE, kControlTag, MPI_COMM_WORLD,
              &control_);
  }

  // MPI counts bytes in an int.
  template <typename StartPart>
  Request Parts(size_t size, StartPart start) {
    Parted& parted = requests_[++last_];
    for (size_t first = 0; first < size; first += kLargestMessage) {
      parted.parts.push_back(MPI_REQUEST_NULL);
      const auto count = static_cast<int>(std::min(kLargestMessage, size - first));
      const int error = start(first, count, &parted.parts.back());
      if (error != MPI_SUCCESS) parted.error = error;
    }
    return last_;
  }

  int rank_ = 0, size_ = 1;
  Request last_ = 0;
  std::map<Request, Parted> requests_;
  Control incoming_;
  MPI_Request control_ = MPI_REQUEST_NULL;
  std::vector<std::unique_ptr<Control>> outgoing_;
};

class MpiAllReduce : public Operation {
 public:
  MpiAllReduce(const Party& everybody, float* values, int64_t count)
      : Operation(everybody, /*tag=*/1), values_(values), count_(count) {}

 protected:
  bool Begin(int round, Transport* /*transport*/) override {
    if (round > 0) return false;
    MPI_Allreduce(MPI_IN_PLACE, values_, static_cast<int>(count_), MPI_FLOAT, MPI_SUM,
                  MPI_COMM_WORLD);
    return true;
  }

 private:
  float* const values_;
  const int64_t count_;
};

}  // namespace

std::unique_ptr<Operation> MakeMpiAllReduce(const Party& everybody, float* values, int64_t count) {
  return std::make_unique<MpiAllReduce>(everybody, values, count);
}

absl::StatusOr<std::unique_ptr<Transport>> StartMpi() {
  int threads = 0;
  MIXREC_RETURN_IF_ERROR(
      StatusOf(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &threads), "MPI_Init"));
  return std::make_unique<MpiTransport>();
}

}  // namespace mixrec::collective
