mixrec_test(flag_reader_test ROOMS launch)
mixrec_test(run_folder_test ROOMS launch)
mixrec_test(program_test ROOMS launch)
target_compile_definitions(program_test PRIVATE MIXREC_SOURCE="${CMAKE_SOURCE_DIR}")
