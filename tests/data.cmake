foreach(name dataset_test metrics_test tokenizer_test catalogue_test hard_samples_test batcher_test
             step_samples_test step_share_test pad_test synth_test text_pieces_test)
  mixrec_test(${name} ROOMS data)
endforeach()
