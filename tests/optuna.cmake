# A study in Optuna and its dashboard; skipped where there is no Optuna.
add_test(NAME Optuna.OpensAStudyWhileItIsSearched
  COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/optuna/optuna_test.sh $<TARGET_FILE:mixrec>)
set_tests_properties(Optuna.OpensAStudyWhileItIsSearched PROPERTIES
  SKIP_RETURN_CODE 77 TIMEOUT 600 LABELS end-to-end)
