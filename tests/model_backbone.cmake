mixrec_test(safetensors_test ROOMS backbone)
mixrec_test(pytorch_bin_test ROOMS backbone)
mixrec_test(backbone_test ROOMS backbone)
mixrec_test(pretrain_test ROOMS backbone)
