# The parameter server with real processes, some of which are killed.
add_executable(table_worker table_worker.cc)
target_link_libraries(table_worker PRIVATE mixrec_ps mixrec_options)
mixrec_use_torch(table_worker)
add_library(mixrec_ps_processes STATIC ps_process_fixture.cc)
target_compile_definitions(mixrec_ps_processes PUBLIC
  MIXREC_PROGRAM="$<TARGET_FILE:mixrec>" MIXREC_TABLE_WORKER="$<TARGET_FILE:table_worker>")
target_link_libraries(mixrec_ps_processes PUBLIC mixrec_common mixrec_options GTest::gtest)
add_dependencies(mixrec_ps_processes mixrec table_worker)

mixrec_test(ps_kill_test ROOMS ps_processes LABELS kill)
