mixrec_test(cf_training_test ROOMS worker TORCH)
