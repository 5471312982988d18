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

// Returns what was done at the signal before.
struct sigaction StopAt(int signal) {
  struct sigaction action {
  }, before{};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, &before);
  return before;
}

struct sigaction first_at_usr1;  // NOLINT: written in main, before there are threads

}  // namespace

void InstallStopSignals() {
  for (int signal : {SIGINT, SIGTERM}) StopAt(signal);
  first_at_usr1 = StopAt(SIGUSR1);
}

void TakeStopSignal(int signal) {
  if (signal == SIGUSR1) return;
  StopAt(signal);
  sigaction(SIGUSR1, &first_at_usr1, nullptr);
}

void StopAfter(unsigned seconds) {
  StopAt(SIGALRM);
  ::alarm(seconds);
}

bool StopRequested() { return stop_requests.load(std::memory_order_relaxed) > 0; }
void RequestStop() { stop_requests.fetch_add(1); }
void ClearStopRequest() { stop_requests.store(0); }

}  // namespace mixrec
