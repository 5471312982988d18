# What the fuzzers do, for any compiler and a second.
mixrec_test(mutated_message_test ROOMS ps_codec)

# libFuzzer's programs (launch/fuzz.sh): the preset "fuzz", target "fuzzers". They compile what they
# need anew, with coverage, and link no room: neither LibTorch nor the rest has to build with clang.
option(MIXREC_FUZZ "Declare the fuzzers (needs clang)" OFF)
if(MIXREC_FUZZ)
  add_library(mixrec_fuzz_options INTERFACE)
  target_compile_options(mixrec_fuzz_options INTERFACE -g -O1 -fsanitize=address,undefined
    -fno-sanitize=vptr -fno-sanitize-recover=undefined)
  target_link_options(mixrec_fuzz_options INTERFACE -fsanitize=address,undefined)
  target_link_libraries(mixrec_fuzz_options INTERFACE mixrec_options absl::status absl::statusor
    absl::strings PkgConfig::glog PkgConfig::xxhash nlohmann_json::nlohmann_json)
  set(protocol_folders ${CMAKE_BINARY_DIR}/generated/fuzz)
  file(MAKE_DIRECTORY ${protocol_folders}/ps)
  set(ps ${CMAKE_SOURCE_DIR}/ps)

  # mixrec_fuzzer(NAME SOURCE...)
  function(mixrec_fuzzer name)
    add_executable(${name} EXCLUDE_FROM_ALL ${ARGN} ${CMAKE_SOURCE_DIR}/common/status.cc
      ${ps}/shard_map.cc ${ps}/table_spec.cc)
    target_link_libraries(${name} PRIVATE mixrec_fuzz_options CapnProto::capnp CapnProto::kj)
    target_include_directories(${name} SYSTEM PRIVATE ${protocol_folders})
  endfunction()
  set(codec_sources ${ps}/codec.cc ${ps}/codec_write.cc ${ps}/codec_read.cc ${ps}/codec_check.cc)
  set(snapshot_sources ${ps}/snapshot_file.cc ${ps}/snapshot_format.cc ${ps}/moments.cc)
  set(protocol_source ${CMAKE_BINARY_DIR}/generated/fuzz/ps/protocol.capnp.c++)

  mixrec_fuzzer(decode_fuzz fuzz/decode_fuzz.cc ${codec_sources} ${protocol_source})
  mixrec_fuzzer(snapshot_fuzz fuzz/snapshot_fuzz.cc ${snapshot_sources})
  foreach(name decode_fuzz snapshot_fuzz)
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  endforeach()
  mixrec_fuzzer(write_fuzz_seeds fuzz/write_seeds.cc ${CMAKE_SOURCE_DIR}/common/file.cc
    ${codec_sources} ${snapshot_sources} ${protocol_source})

  # Generated here, since a rule of another folder is not seen in this one.
  add_custom_command(OUTPUT ${protocol_source} DEPENDS ${ps}/protocol.capnp
    COMMAND capnp compile -oc++:${CMAKE_BINARY_DIR}/generated/fuzz --src-prefix=${CMAKE_SOURCE_DIR}
            ${ps}/protocol.capnp)
  set_source_files_properties(${protocol_source} PROPERTIES COMPILE_OPTIONS -w)
  add_custom_target(fuzzed_protocol DEPENDS ${protocol_source})
  add_dependencies(decode_fuzz fuzzed_protocol)
  add_dependencies(write_fuzz_seeds fuzzed_protocol)
  add_custom_target(fuzzers DEPENDS decode_fuzz snapshot_fuzz write_fuzz_seeds)
endif()
