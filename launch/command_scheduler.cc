// `mixrec scheduler`: the coordinator of a search whose groups come from elsewhere.
#include "common/file.h"
#include "launch/commands.h"
#include "launch/flags.h"
#include "launch/flags_ps.h"
#include "launch/flags_search.h"
#include "launch/logging.h"
#include "launch/materials.h"
#include "launch/search_outcome.h"
#include "launch/search_service.h"
#include "launch/search_setup.h"

namespace mixrec::launch {

absl::Status RunScheduler(const Invocation& invocation) {
  MIXREC_RETURN_IF_ERROR(RequireFlag("study", FLAGS_study));
  ServiceOptions service;
  MIXREC_ASSIGN_OR_RETURN(service.listen, EndpointToListen(FLAGS_listen));
  MIXREC_ASSIGN_OR_RETURN(const std::unique_ptr<Materials> materials,
                          LoadMaterials(invocation.out));
  MIXREC_RETURN_IF_ERROR(LoadHardSamplesInto(materials.get()));
  MIXREC_RETURN_IF_ERROR(LoadBackboneInto(materials.get()));
  const RunRequest request = StudyRequest(invocation, *materials, FLAGS_study);
  MIXREC_ASSIGN_OR_RETURN(RunFolder run, RunFolder::Open(request));
  MIXREC_RETURN_IF_ERROR(LogInto(run.File("logs")));
  MIXREC_RETURN_IF_ERROR(MakeFolder(run.File("trials")));
  MIXREC_RETURN_IF_ERROR(LoadCatalogueInto(run.path(), materials.get()));
  MIXREC_ASSIGN_OR_RETURN(service.study, StudyOptionsOfFlags(*materials));
  service.brief = BriefOf(request, run);
  service.settings = ConfigHash(request);
  materials->backbone = model::Backbone();  // it was only to be known
  scheduler::StudyRecord study;
  const absl::Status status = ServeStudy(service, invocation, &run, &study);
  return run.Close(EndSearch(invocation, status, study, &run));
}

}  // namespace mixrec::launch
