#include "common/stop_signal.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <initializer_list>

namespace mixrec {
namespace {

std::atomic<int> stop_requests{0};
static_assert(std::atomic<int>::is_always_lock_free, "used in a signal handler");

void OnSignal(int signal) {
  if (stop_requests.fetch_add(1) > 0 && signal == SIGINT) ::_exit(128 + SIGINT);
}

}  // namespace

void InstallStopSignals() {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaction(signal, &action, nullptr);
}

bool StopRequested() { return stop_requests.load(std::memory_order_relaxed) > 0; }
void RequestStop() { stop_requests.fetch_add(1); }
void ClearStopRequest() { stop_requests.store(0); }

}  // namespace mixrec
