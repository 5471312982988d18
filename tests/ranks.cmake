# Commands by several ranks of a real mpirun.
add_library(mixrec_ranks_fixture STATIC ranks_fixture.cc)
target_link_libraries(mixrec_ranks_fixture PUBLIC mixrec_ps_processes mixrec_common mixrec_options GTest::gtest)

mixrec_test(ranks_test ROOMS ranks_fixture LABELS ranks)
