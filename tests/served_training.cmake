mixrec_test(served_training_test ROOMS worker ps net TORCH LABELS ps)
mixrec_test(shared_served_training_test ROOMS worker collective ps net TORCH LABELS ps collective)
mixrec_test(segmented_step_test ROOMS worker collective ps net TORCH LABELS ps collective)
