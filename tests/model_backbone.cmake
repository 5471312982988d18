mixrec_test(backbone_test ROOMS backbone TORCH)
target_compile_definitions(backbone_test PRIVATE MIXREC_SOURCE="${CMAKE_SOURCE_DIR}")
