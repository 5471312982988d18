mixrec_test(random_test ROOMS common)
mixrec_test(file_test ROOMS common)
