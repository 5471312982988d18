mixrec_test(wordpiece_test ROOMS data)
mixrec_test(mined_hard_samples_test ROOMS data)
mixrec_test(bert_test ROOMS bert TORCH)
