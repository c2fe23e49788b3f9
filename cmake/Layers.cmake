# A folder of runtime/ is one library, and includes only the headers of those it names: each folder
# is reachable under its own include root (build/layers/base/base -> runtime/base), so that an
# include that goes up the stack does not compile.

function(myco_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;NEEDS;LIBS" ${ARGN})
  set(root ${CMAKE_BINARY_DIR}/layers/${name})
  file(MAKE_DIRECTORY ${root})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR}/${name} ${root}/${name} SYMBOLIC)

  set(sources ${ARG_SOURCES})
  list(TRANSFORM sources PREPEND ${name}/)
  add_library(myco_${name} OBJECT ${sources})
  target_include_directories(myco_${name} PUBLIC ${root} ${CMAKE_SOURCE_DIR}/runtime/include)
  target_link_libraries(myco_${name} PRIVATE myco_warnings)
  foreach(below ${ARG_NEEDS})
    target_link_libraries(myco_${name} PUBLIC myco_${below})
  endforeach()
  target_link_libraries(myco_${name} PUBLIC ${ARG_LIBS})
  set_property(GLOBAL APPEND PROPERTY MYCO_LAYERS ${name})
endfunction()

# The warnings of every target of ours; never exported.
add_library(myco_warnings INTERFACE)
target_compile_definitions(myco_warnings INTERFACE _GNU_SOURCE)
target_compile_options(myco_warnings INTERFACE -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes
  -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wundef -Wvla -Wformat=2
  -Wno-missing-field-initializers -fno-strict-aliasing -fvisibility=hidden)

option(MYCO_FAULTS "Compile named fault points in" OFF)
if(MYCO_FAULTS)
  add_compile_definitions(MYCO_FAULTS=1)
endif()
set(MYCO_SANITIZE "" CACHE STRING "address (with undefined), thread, or empty")
if(MYCO_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
elseif(MYCO_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
endif()
