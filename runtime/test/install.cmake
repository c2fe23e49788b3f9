# Catches: an installed tree that nobody can build against, or whose program does not run. Installs the
# build below itself, and builds a program against it in both ways, and statically.
cmake_minimum_required(VERSION 3.25)
set(root ${BUILD}/install-test)
set(prefix ${root}/prefix)
file(REMOVE_RECURSE ${root})

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGN}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
foreach(file ${prefix}/bin/mycorrizal ${prefix}/include/mycorrizal.h ${prefix}/${LIBDIR}/libmycorrizal.a
    ${prefix}/${LIBDIR}/libmycorrizal.so ${prefix}/${DATADIR}/mycorrizal/lua/mycorrizal/init.lua
    ${prefix}/${DATADIR}/mycorrizal/lua/modules/metrics/init.lua)
  if(NOT EXISTS ${file})
    message(FATAL_ERROR "not installed: ${file}")
  endif()
endforeach()
run(${prefix}/bin/mycorrizal --version)

run(${CMAKE_COMMAND} -S ${CONSUMER} -B ${root}/cmake -DCMAKE_PREFIX_PATH=${prefix})
run(${CMAKE_COMMAND} --build ${root}/cmake)
run(${root}/cmake/consumer)
run(${root}/cmake/consumer ${root}/cmake.myco)

set(ENV{PKG_CONFIG_PATH} ${prefix}/${LIBDIR}/pkgconfig)
run(sh -c "cc ${CONSUMER}/consumer.c -o ${root}/shared $(pkg-config --cflags --libs mycorrizal) \
  -Wl,-rpath,${prefix}/${LIBDIR}")
run(${root}/shared)
run(sh -c "cc ${CONSUMER}/consumer.c -o ${root}/static $(pkg-config --cflags mycorrizal) \
  ${prefix}/${LIBDIR}/libmycorrizal.a $(pkg-config --static --libs mycorrizal | sed 's/-lmycorrizal//')")
run(${root}/static)
message("${output}")
