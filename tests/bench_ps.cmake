mixrec_test(zmq_ceiling_test ROOMS bench_zmq)
mixrec_test(bench_ps_test ROOMS bench_ps)
