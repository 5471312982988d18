mixrec_test(codec_test ROOMS ps_codec)
