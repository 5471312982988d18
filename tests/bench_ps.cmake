mixrec_test(zmq_ceiling_test ROOMS bench_zmq)
