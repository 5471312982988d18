mixrec_test(products_test ROOMS tensor TORCH)
mixrec_test(optimizer_test ROOMS tensor TORCH)
mixrec_test(side_stream_test ROOMS tensor TORCH)
mixrec_test(softmax_test ROOMS tensor TORCH)
