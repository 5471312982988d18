mixrec_test(served_training_test ROOMS worker ps net TORCH LABELS ps)
