mixrec_test(codec_test ROOMS ps_codec)
mixrec_test(simulation_test ROOMS net)
