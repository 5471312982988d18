mixrec_test(safetensors_test ROOMS backbone)
mixrec_test(pytorch_bin_test ROOMS backbone)
mixrec_test(backbone_test ROOMS backbone)
target_compile_definitions(backbone_test PRIVATE MIXREC_SOURCE="${CMAKE_SOURCE_DIR}")
