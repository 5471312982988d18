# Third-party libraries, as imported targets. Debian packages by their config or pkg-config files;
# LibTorch from the PyPI package torch (found without importing it).
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(GTest REQUIRED)
find_package(ICU REQUIRED COMPONENTS uc i18n)
find_package(ZLIB REQUIRED)
find_package(CapnProto REQUIRED)
find_package(cppzmq REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(gflags REQUIRED IMPORTED_TARGET gflags)
pkg_check_modules(glog REQUIRED IMPORTED_TARGET libglog)
pkg_check_modules(httplib REQUIRED IMPORTED_TARGET cpp-httplib)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)

# --- LibTorch -------------------------------------------------------------------------------
set(MIXREC_TORCH "" CACHE PATH "Folder of the torch package (empty: ask python3, then .venv)")
if(NOT MIXREC_TORCH)
  foreach(python ${CMAKE_SOURCE_DIR}/.venv/bin/python3 python3)
    execute_process(
      COMMAND ${python} -c
        "import importlib.util as u, os; s = u.find_spec('torch'); print(os.path.dirname(s.origin) if s else '')"
      OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
    if(NOT failed AND found)
      set(MIXREC_TORCH ${found} CACHE PATH "" FORCE)
      break()
    endif()
  endforeach()
endif()
if(NOT EXISTS ${MIXREC_TORCH}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "LibTorch not found. Run ./launch/setup.sh, or pass -DMIXREC_TORCH=.../site-packages/torch")
endif()
file(READ ${MIXREC_TORCH}/version.py torch_version)
if(NOT torch_version MATCHES "2\\.11\\.0")
  message(FATAL_ERROR "MixRec is built against torch 2.11.0; ${MIXREC_TORCH} is another version")
endif()
set(torch_lib ${MIXREC_TORCH}/lib)
get_filename_component(torch_site ${MIXREC_TORCH} DIRECTORY)

foreach(name c10 torch_cpu)
  add_library(mixrec_dep_${name} SHARED IMPORTED GLOBAL)
  set_target_properties(mixrec_dep_${name} PROPERTIES IMPORTED_LOCATION ${torch_lib}/lib${name}.so)
endforeach()
add_library(mixrec_torch INTERFACE)
target_include_directories(mixrec_torch SYSTEM INTERFACE
  ${MIXREC_TORCH}/include ${MIXREC_TORCH}/include/torch/csrc/api/include)
target_link_libraries(mixrec_torch INTERFACE mixrec_dep_torch_cpu mixrec_dep_c10 Threads::Threads)
# The package's own OpenMP runtime, so that a process never holds two of them.
target_compile_options(mixrec_torch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
if(EXISTS ${torch_lib}/libgomp.so.1)
  target_link_libraries(mixrec_torch INTERFACE ${torch_lib}/libgomp.so.1)
else()
  target_link_libraries(mixrec_torch INTERFACE gomp)
endif()
set(runtime_folders ${torch_lib} ${torch_site}/nvidia/cu13/lib ${torch_site}/nvidia/nccl/lib
                    ${torch_site}/nvidia/cudnn/lib ${torch_site}/nvidia/cusparselt/lib
                    ${torch_site}/nvidia/nvshmem/lib)
foreach(folder ${runtime_folders})
  target_link_options(mixrec_torch INTERFACE -Wl,-rpath,${folder} -Wl,-rpath-link,${folder})
endforeach()
target_link_options(mixrec_torch INTERFACE -Wl,--allow-shlib-undefined)

if(MIXREC_CUDA)
  set(CMAKE_CUDA_STANDARD 17)
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 90)
  endif()
  # LibTorch's CUDA runtime is a shared library: one runtime a process.
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
  enable_language(CUDA)
  if(MIXREC_WERROR)
    string(APPEND CMAKE_CUDA_FLAGS " --Werror all-warnings -Xcompiler=-Wall,-Wextra")
  endif()
  find_package(CUDAToolkit REQUIRED)
  foreach(name c10_cuda torch_cuda)
    add_library(mixrec_dep_${name} SHARED IMPORTED GLOBAL)
    set_target_properties(mixrec_dep_${name} PROPERTIES IMPORTED_LOCATION ${torch_lib}/lib${name}.so)
  endforeach()
  # libtorch_cuda registers its kernels when it is loaded: keep it although no symbol is named.
  target_link_libraries(mixrec_torch INTERFACE
    "-Wl,--no-as-needed" mixrec_dep_torch_cuda mixrec_dep_c10_cuda "-Wl,--as-needed" ${CUDA_cudart_LIBRARY})
endif()

# C++ sources that see CUDA in a CUDA build: they get its headers and MIXREC_CUDA. All others compile
# alike in both lanes, so that a compiler cache serves both.
function(mixrec_cuda_aware)
  if(MIXREC_CUDA)
    set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_DEFINITIONS MIXREC_CUDA=1)
    set_property(SOURCE ${ARGN} APPEND PROPERTY INCLUDE_DIRECTORIES ${CUDAToolkit_INCLUDE_DIRS})
  endif()
endfunction()
