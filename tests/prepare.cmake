foreach(name page_text_test text_lines_test amazon_test)
  mixrec_test(${name} ROOMS data)
endforeach()
mixrec_test(prepare_command_test ROOMS commands TORCH)
