# Commands by several ranks of a real mpirun.
add_library(mixrec_ranks_fixture STATIC ranks_fixture.cc)
target_link_libraries(mixrec_ranks_fixture PUBLIC mixrec_ps_processes mixrec_common mixrec_options GTest::gtest)

mixrec_test(ranks_test ROOMS ranks_fixture LABELS ranks)
mixrec_test(ranks_kill_test ROOMS ranks_fixture LABELS kill)

# Two hosts as network namespaces; skipped where they are not permitted.
add_test(NAME Hosts.TrainAndEvaluateOverTwoAndSurviveACutLink
  COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/hosts/hosts_test.sh $<TARGET_FILE:mixrec>)
set_tests_properties(Hosts.TrainAndEvaluateOverTwoAndSurviveACutLink PROPERTIES
  SKIP_RETURN_CODE 77 TIMEOUT 600 LABELS ranks)
add_test(NAME Hosts.SearchOverTwoEndsThoughOneIsCutOff
  COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/hosts/search_test.sh $<TARGET_FILE:mixrec>)
set_tests_properties(Hosts.SearchOverTwoEndsThoughOneIsCutOff PROPERTIES
  SKIP_RETURN_CODE 77 TIMEOUT 400 LABELS ranks)
