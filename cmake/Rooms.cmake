# mixrec_room(NAME SOURCES ... [CUDA_SOURCES ...] [DEPENDS ...] [TORCH])
#
# A room is a folder, a static library mixrec_NAME and a namespace mixrec::NAME. TORCH rooms see
# LibTorch and share one precompiled header.
include(CheckCXXCompilerFlag)
find_package(Python3 REQUIRED COMPONENTS Interpreter)
execute_process(COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/cmake/check_layers.py ${CMAKE_SOURCE_DIR}
                RESULT_VARIABLE layers_broken)
if(layers_broken)
  message(FATAL_ERROR "A room includes what it may not (see above and docs/architecture.md)")
endif()

add_library(mixrec_options INTERFACE)
target_include_directories(mixrec_options INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
target_compile_options(mixrec_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-march=$<IF:$<BOOL:$<TARGET_PROPERTY:MIXREC_ARCH>>,$<TARGET_PROPERTY:MIXREC_ARCH>,${MIXREC_CPU_ARCH}>
  -Wall -Wextra -Wno-unknown-pragmas>)
if(MIXREC_WERROR)
  target_compile_options(mixrec_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(MIXREC_SANITIZE)
  target_compile_options(mixrec_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${MIXREC_SANITIZE} -fno-omit-frame-pointer>)
  target_link_options(mixrec_options INTERFACE -fsanitize=${MIXREC_SANITIZE})
  if(MIXREC_SANITIZE MATCHES "undefined")
    target_compile_options(mixrec_options INTERFACE
      $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-recover=undefined -fno-sanitize=vptr>)
  endif()
endif()

# One precompiled header for everything that sees LibTorch.
if(NOT EXISTS ${CMAKE_BINARY_DIR}/generated/torch_pch.cc)
  file(WRITE ${CMAKE_BINARY_DIR}/generated/torch_pch.cc "")
endif()
add_library(mixrec_torch_pch OBJECT ${CMAKE_BINARY_DIR}/generated/torch_pch.cc)
target_link_libraries(mixrec_torch_pch PUBLIC mixrec_options mixrec_torch)
target_precompile_headers(mixrec_torch_pch PRIVATE <ATen/ATen.h> <ATen/Parallel.h> <algorithm> <cmath> <string>
  <vector> <memory> <unordered_map>)

function(mixrec_use_torch target)
  target_link_libraries(${target} PUBLIC mixrec_torch)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL EXECUTABLE)
    # The header was compiled as for libraries; -fPIE would refuse it.
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
  target_precompile_headers(${target} REUSE_FROM mixrec_torch_pch)
endfunction()

function(mixrec_room name)
  cmake_parse_arguments(room "TORCH" "" "SOURCES;CUDA_SOURCES;DEPENDS" ${ARGN})
  if(MIXREC_CUDA)
    list(APPEND room_SOURCES ${room_CUDA_SOURCES})
  endif()
  add_library(mixrec_${name} STATIC ${room_SOURCES})
  target_link_libraries(mixrec_${name} PUBLIC mixrec_options ${room_DEPENDS})
  if(room_TORCH)
    mixrec_use_torch(mixrec_${name})
  endif()
endfunction()

# mixrec_loops(VERSION ARCH): the inner loops of model/ for one architecture, in a namespace VERSION
# of their own. A library with symbols outside it is not built: see model/loops.h.
function(mixrec_loops version arch)
  set(library mixrec_loops_${version})
  add_library(${library} STATIC loops_attention.cc loops_rows.cc)
  target_link_libraries(${library} PRIVATE mixrec_options)
  set_target_properties(${library} PROPERTIES MIXREC_ARCH ${arch})
  target_compile_definitions(${library} PRIVATE MIXREC_LOOPS=${version})
  target_compile_options(${library} PRIVATE -O3 -ffast-math)
  add_custom_command(TARGET ${library} POST_BUILD VERBATIM
    COMMAND ${CMAKE_COMMAND} -D NM=${CMAKE_NM} -D LIBRARY=$<TARGET_FILE:${library}> -D VERSION=${version}
            -P ${CMAKE_SOURCE_DIR}/cmake/check_loops.cmake)
endfunction()
