# cmake -D NM=nm -D LIBRARY=libmixrec_loops_avx512.a -D VERSION=avx512 -P check_loops.cmake
#
# Fails if the library defines a symbol that another file could define, too: it may be compiled for
# more than every processor of the program has, and the linker keeps one of several definitions.
# What is in the version's own namespace is no other file's.
execute_process(COMMAND ${NM} --defined-only --extern-only --format=posix ${LIBRARY}
                OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+" symbols "${symbols}")
list(FILTER symbols EXCLUDE REGEX ":$")  # names of members
set(own ${symbols})
list(FILTER own INCLUDE REGEX "N6mixrec5model3cpu[0-9]+${VERSION}[0-9]+k(Attention|Row)LoopsE")
if(NOT own)
  message(FATAL_ERROR "${LIBRARY} has nothing of its own: ${symbols}")
endif()
list(REMOVE_ITEM symbols ${own})
if(symbols)
  file(REMOVE ${LIBRARY})
  list(JOIN symbols "\n  " symbols)
  message(FATAL_ERROR "Loops compiled for one processor share symbols with the rest of the program "
                      "(model/loops.h):\n  ${symbols}")
endif()
