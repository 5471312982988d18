mixrec_test(codec_test ROOMS ps_codec)
mixrec_test(buffer_pool_test ROOMS net)
mixrec_test(simulation_test ROOMS net)
mixrec_test(zmq_transport_test ROOMS net)
