mixrec_test(journal_test ROOMS scheduler)
mixrec_test(search_space_test ROOMS bo_driver)
mixrec_test(gaussian_process_test ROOMS bo_driver)
mixrec_test(search_driver_test ROOMS bo_driver)
mixrec_test(search_problems_test ROOMS bench_bo)
mixrec_test(study_runner_test ROOMS bo_driver)
mixrec_test(study_report_test ROOMS bo_driver)
mixrec_test(scheduler_simulation_test ROOMS scheduler_actors
  SOURCES simulation/search_world.cc simulation/search_group.cc LABELS simulation)
