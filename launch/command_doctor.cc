#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "absl/strings/str_format.h"
#include "common/file.h"
#include "launch/build_info.h"
#include "launch/clock_text.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "model/loops.h"
#ifdef MIXREC_CUDA
#include <cuda_runtime_api.h>
#endif

namespace mixrec::launch {
namespace {

double Gigabytes(double bytes) { return bytes / (1 << 30); }

std::string Memory() {
  const double page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  return absl::StrFormat("%.1f GiB, %.1f GiB free",
                         Gigabytes(page * static_cast<double>(::sysconf(_SC_PHYS_PAGES))),
                         Gigabytes(page * static_cast<double>(::sysconf(_SC_AVPHYS_PAGES))));
}

#ifdef MIXREC_CUDA
std::string Gpus() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) return StrCat("none (", cudaGetErrorString(error), ")");
  std::string text = StrCat(count);
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp device;
    if (cudaGetDeviceProperties(&device, i) != cudaSuccess) continue;
    text += absl::StrFormat("; %d: %s, %.1f GiB", i, device.name,
                            Gigabytes(static_cast<double>(device.totalGlobalMem)));
  }
  return text;
}
#else
std::string Gpus() { return "not looked for: this build has no CUDA part"; }
#endif

// Whether files can be written in the folder, and how much room there is.
absl::Status CheckFolder(const std::string& folder, std::ostream& out) {
  const bool existed = PathExists(folder);
  MIXREC_RETURN_IF_ERROR(MakeFolder(folder));
  const std::string probe = StrCat(folder, "/.mixrec_doctor");
  const absl::Status written = WriteFileAtomic(probe, "x");
  std::error_code error;
  std::filesystem::remove(probe, error);
  const auto space = std::filesystem::space(folder, error);
  if (!existed) std::filesystem::remove(folder, error);
  MIXREC_RETURN_IF_ERROR(written);
  out << "folder " << folder << ": writable, "
      << absl::StrFormat("%.1f GiB free", Gigabytes(static_cast<double>(space.available))) << "\n";
  return absl::OkStatus();
}

}  // namespace

absl::Status RunDoctor(const Invocation& invocation) {
  std::ostream& out = *invocation.out;
  out << VersionLine() << "\n"
      << "host: " << HostName() << "\n"
      << "cores: " << std::thread::hardware_concurrency() << ", LibTorch uses "
      << at::get_num_threads() << " threads (" << at::get_cpu_capability()
      << "), MixRec's own loops: " << model::cpu::ChosenLoops().name << "\n"
      << "memory: " << Memory() << "\n"
      << "GPUs: " << Gpus() << "\n";
  MIXREC_RETURN_IF_ERROR(CheckFolder(FLAGS_out.empty() ? "." : FLAGS_out, out));
  out << "all is well\n";
  return absl::OkStatus();
}

}  // namespace mixrec::launch
