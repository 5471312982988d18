mixrec_test(golden_mixrec_test ROOMS model SOURCES golden_case.cc TORCH LABELS golden)
mixrec_test(model_test ROOMS model TORCH)
mixrec_test(attention_loops_test ROOMS model TORCH)
mixrec_test(row_loops_test ROOMS model TORCH)
