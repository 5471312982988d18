mixrec_test(step_graphs_test ROOMS worker TORCH)
mixrec_test(step_profile_test ROOMS worker TORCH LABELS worker)
mixrec_test(folding_test ROOMS worker TORCH LABELS worker)
foreach(name tables_test train_step_test trainer_test placement_test checkpoint_test evaluator_test recommender_test
             search_objective_test)
  mixrec_test(${name} ROOMS worker TORCH LABELS worker)
endforeach()
mixrec_test(golden_train_step_test ROOMS worker SOURCES golden_case.cc TORCH LABELS golden)
target_compile_definitions(golden_train_step_test PRIVATE MIXREC_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
