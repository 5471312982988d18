mixrec_test(flag_reader_test ROOMS launch)
