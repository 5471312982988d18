mixrec_test(collective_test ROOMS collective TORCH LABELS collective)
