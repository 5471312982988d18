#include "launch/build_info.h"

#include "common/status.h"
#include "mixrec_git_version.h"

namespace mixrec::launch {

BuildInfo ThisBuild() {
  BuildInfo build;
  build.version = MIXREC_VERSION;
  build.git = MIXREC_GIT_VERSION;
  build.type = MIXREC_BUILD_TYPE;
  build.compiler = MIXREC_COMPILER;
  build.cpu = MIXREC_CPU;
  build.torch = "2.11.0";
  build.cuda = MIXREC_WITH_CUDA;
  build.sanitizers = MIXREC_SANITIZERS;
  return build;
}

std::string VersionLine() {
  const BuildInfo build = ThisBuild();
  return StrCat("mixrec ", build.version, " (", build.git, "; ", build.type, ", ", build.compiler,
                ", ", build.cpu, ", torch ", build.torch, build.cuda ? ", CUDA" : ", CPU",
                build.sanitizers.empty() ? "" : StrCat(", sanitizers ", build.sanitizers), ")");
}

}  // namespace mixrec::launch
