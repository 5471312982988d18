foreach(name dataset_test metrics_test tokenizer_test catalogue_test hard_samples_test batcher_test synth_test)
  mixrec_test(${name} ROOMS data)
  target_compile_definitions(${name} PRIVATE MIXREC_SOURCE="${CMAKE_SOURCE_DIR}")
endforeach()
