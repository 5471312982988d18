if(MIXREC_CUDA)
  mixrec_test(kernels_cuda_test SOURCES kernels_cuda_attention.cc ROOMS model TORCH LABELS cuda)
  mixrec_cuda_aware(kernels_cuda_test.cc kernels_cuda_attention.cc)
  mixrec_test(shared_cuda_test ROOMS worker collective TORCH LABELS cuda)
else()
  # Known, but only the CUDA build has anything to compare with.
  set_property(GLOBAL APPEND PROPERTY mixrec_tests kernels_cuda_test shared_cuda_test)
endif()
