# One program for each decoder of bytes from outside: myco_fuzz(name LAYERS … [LIBS …]) builds
# runtime/fuzz/fuzz_<name>.c, which defines LLVMFuzzerTestOneInput().
#   clang (preset "fuzz"): a libFuzzer binary:        build/fuzz/runtime/fuzz_<name> CORPUS-FOLDER
#   gcc:  the same source with replay.c as its main:  build/debug/runtime/fuzz_<name> FILE…
# Either runs in CTest as fuzz/<name>, over runtime/fuzz/corpus/<name>/ (when there) and a fixed
# number of generated inputs, so that no test run leaves a decoder out.
set(MYCO_FUZZ_RUNS 20000 CACHE STRING "generated inputs for each fuzz target in a test run")

function(myco_fuzz name)
  cmake_parse_arguments(ARG "" "" "LAYERS;LIBS" ${ARGN})
  foreach(layer ${ARG_LAYERS})          # a layer that is not there: its targets wait
    if(NOT TARGET myco_${layer})
      return()
    endif()
  endforeach()
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/fuzz_${name}.c)
  set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name})
  if(CMAKE_C_COMPILER_ID MATCHES "Clang")
    add_executable(fuzz_${name} ${source})
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    set(run fuzz_${name} -runs=${MYCO_FUZZ_RUNS} -seed=1 -close_fd_mask=1)
    if(EXISTS ${corpus})
      set(scratch ${CMAKE_CURRENT_BINARY_DIR}/corpus/${name})   # what it finds goes to the first folder
      file(MAKE_DIRECTORY ${scratch})
      list(APPEND run ${scratch} ${corpus})
    endif()
  else()
    add_executable(fuzz_${name} ${source} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/replay.c)
    file(GLOB seeds CONFIGURE_DEPENDS ${corpus}/*)
    set(run fuzz_${name} --runs ${MYCO_FUZZ_RUNS} ${seeds})
  endif()
  target_include_directories(fuzz_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/fuzz)
  foreach(layer ${ARG_LAYERS})
    target_link_libraries(fuzz_${name} PRIVATE myco_${layer})
  endforeach()
  target_link_libraries(fuzz_${name} PRIVATE myco_warnings ${ARG_LIBS})
  myco_test_objects(fuzz_${name} ${ARG_LAYERS})
  add_test(NAME fuzz/${name} COMMAND ${run})
  set_tests_properties(fuzz/${name} PROPERTIES TIMEOUT 120)
endfunction()

# libFuzzer steers by the coverage of the code under test, not of the target alone.
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
  # gcc's -Wformat=2 knows a function that passes its va_list on; clang's does not
  target_compile_options(myco_warnings INTERFACE -Wno-format-nonliteral)
  get_property(layers GLOBAL PROPERTY MYCO_LAYERS)
  foreach(layer ${layers})
    target_compile_options(myco_${layer} PRIVATE -fsanitize=fuzzer-no-link)
  endforeach()
endif()

file(GLOB lists CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/*.fuzz.cmake)
foreach(list ${lists})
  include(${list})
endforeach()
