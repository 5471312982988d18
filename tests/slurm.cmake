# The templates of launch/slurm on a real, private Slurm; skipped where none is installed.
add_test(NAME Slurm.TemplatesRunSearchAndTraining
  COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/slurm/slurm_test.sh $<TARGET_FILE:mixrec>)
set_tests_properties(Slurm.TemplatesRunSearchAndTraining PROPERTIES
  SKIP_RETURN_CODE 77 TIMEOUT 900 LABELS slurm)

# The same over two nodes that are hosts of their own: network namespaces, where they are permitted.
add_test(NAME Slurm.TrainingOverTwoNodesIsPreemptedAndGoesOn
  COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/slurm/slurm_nodes_test.sh $<TARGET_FILE:mixrec>)
set_tests_properties(Slurm.TrainingOverTwoNodesIsPreemptedAndGoesOn PROPERTIES
  SKIP_RETURN_CODE 77 TIMEOUT 900 LABELS slurm)
