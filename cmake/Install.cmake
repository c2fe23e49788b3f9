# What leaves the build tree: libmycorrizal, static and shared, made of every layer's objects; the
# program; headers, pkg-config and CMake packages, the Lua layer, manual pages. To be included after runtime/, when
# all layers are known; modules and pulse may use myco_program().
#
# The build tree has the shape of an installed one (bin, lib, share/mycorrizal/lua), so that programs
# find the Lua layer by the same rule in both: host/lua_path.c.
include(CMakePackageConfigHelpers)

set(MYCO_LUA_DIR ${CMAKE_INSTALL_DATADIR}/mycorrizal/lua)
set(MYCO_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/mycorrizal)

# The objects of all layers, and the libraries that they need.
get_property(layers GLOBAL PROPERTY MYCO_LAYERS)
set(objects "")
set(libraries "")
foreach(layer ${layers})
  list(APPEND objects $<TARGET_OBJECTS:myco_${layer}>)
  get_target_property(needs myco_${layer} INTERFACE_LINK_LIBRARIES)
  foreach(need ${needs})
    if(need MATCHES "^(PkgConfig|OpenSSL|Threads)::|^(m|dl|rt)$")
      list(APPEND libraries ${need})
    endif()
  endforeach()
endforeach()
list(REMOVE_DUPLICATES libraries)

function(myco_library target type)
  add_library(${target} ${type} ${objects})
  set_target_properties(${target} PROPERTIES OUTPUT_NAME mycorrizal LINKER_LANGUAGE C
    ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
  target_include_directories(${target} INTERFACE
    $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/runtime/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endfunction()

myco_library(myco_shared SHARED)
target_link_libraries(myco_shared PRIVATE ${libraries})
target_link_options(myco_shared PRIVATE LINKER:--exclude-libs,ALL)
if(NOT MYCO_SANITIZE)
  target_link_options(myco_shared PRIVATE LINKER:--no-undefined)
endif()
set_target_properties(myco_shared PROPERTIES EXPORT_NAME mycorrizal
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})

myco_library(myco_static STATIC)
target_link_libraries(myco_static PUBLIC ${libraries})

# A program that holds the library itself, and offers it to the modules that it loads.
function(myco_program target)
  add_executable(${target} ${ARGN} ${objects})
  target_include_directories(${target} PRIVATE
    $<TARGET_PROPERTY:myco_host,INTERFACE_INCLUDE_DIRECTORIES>)
  target_link_libraries(${target} PRIVATE myco_warnings ${libraries})
  set_target_properties(${target} PROPERTIES ENABLE_EXPORTS ON
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  install(TARGETS ${target} RUNTIME)
endfunction()

include(${CMAKE_SOURCE_DIR}/runtime/host/cli.cmake)
myco_program(mycorrizal ${MYCO_CLI_SOURCES})

# The version before features: the same objects, but for the one that says which features there are. Specs upgrade
# a cluster with it.
if(BUILD_TESTING)
  add_executable(mycorrizal-previous ${MYCO_CLI_SOURCES} runtime/test/feature_previous.c
    "$<FILTER:${objects},EXCLUDE,/feature_own\\.c>")
  target_include_directories(mycorrizal-previous PRIVATE
    $<TARGET_PROPERTY:myco_host,INTERFACE_INCLUDE_DIRECTORIES>)
  target_link_libraries(mycorrizal-previous PRIVATE myco_warnings ${libraries})
  set_target_properties(mycorrizal-previous PROPERTIES ENABLE_EXPORTS ON
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  # What was acknowledged at level object survives the loss of all nodes at any instant.
  add_test(NAME sim_object COMMAND mycorrizal sim --object --seeds 8 --seconds 9 --quiet --no-lua)
endif()

# ── The Lua layer ──────────────────────────────────────────────────────────────────────────────

# name in share/mycorrizal/lua, folder in the source tree
function(myco_lua_folder name folder)
  if(NOT IS_DIRECTORY ${CMAKE_SOURCE_DIR}/${folder})
    return()
  endif()
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/share/mycorrizal/lua)
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${folder} ${CMAKE_BINARY_DIR}/share/mycorrizal/lua/${name} SYMBOLIC)
  install(DIRECTORY ${folder}/ DESTINATION ${MYCO_LUA_DIR}/${name} FILES_MATCHING PATTERN "*.lua")
endfunction()
myco_lua_folder(mycorrizal lua/mycorrizal)
myco_lua_folder(pulse pulse)
myco_lua_folder(modules modules)

# ── Headers, packages, manual ──────────────────────────────────────────────────────────────────

install(TARGETS myco_shared EXPORT mycorrizal LIBRARY ARCHIVE)
install(TARGETS myco_static ARCHIVE)
install(FILES runtime/include/mycorrizal.h runtime/include/mycorrizal_changes.h runtime/include/mycorrizal_uv.h TYPE INCLUDE)
foreach(page runtime/host/mycorrizal.1 pulse/pulse.1)
  if(EXISTS ${CMAKE_SOURCE_DIR}/${page})
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  endif()
endforeach()

install(EXPORT mycorrizal NAMESPACE mycorrizal:: DESTINATION ${MYCO_CMAKE_DIR}
  FILE mycorrizal-targets.cmake)
configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/mycorrizal-config.cmake.in
  ${CMAKE_BINARY_DIR}/mycorrizal-config.cmake INSTALL_DESTINATION ${MYCO_CMAKE_DIR})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/mycorrizal-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/mycorrizal-config.cmake
  ${CMAKE_BINARY_DIR}/mycorrizal-config-version.cmake DESTINATION ${MYCO_CMAKE_DIR})

# What only a static link has to name.
set(MYCO_REQUIRES_PRIVATE "")
set(MYCO_LIBS_PRIVATE "-pthread")
foreach(library ${libraries})
  if(library MATCHES "^PkgConfig::(.+)$")
    list(APPEND MYCO_REQUIRES_PRIVATE ${${CMAKE_MATCH_1}_MODULE_NAME})
  elseif(library STREQUAL "OpenSSL::SSL")
    list(APPEND MYCO_REQUIRES_PRIVATE libssl)
  elseif(library STREQUAL "OpenSSL::Crypto")
    list(APPEND MYCO_REQUIRES_PRIVATE libcrypto)
  elseif(library MATCHES "^(m|dl|rt)$")
    string(APPEND MYCO_LIBS_PRIVATE " -l${library}")
  endif()
endforeach()
list(JOIN MYCO_REQUIRES_PRIVATE " " MYCO_REQUIRES_PRIVATE)
file(RELATIVE_PATH MYCO_PC_UP /x/${CMAKE_INSTALL_LIBDIR}/pkgconfig /x)
configure_file(cmake/mycorrizal.pc.in mycorrizal.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/mycorrizal.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# ── Tests of what was made here ────────────────────────────────────────────────────────────────

if(BUILD_TESTING)
  add_test(NAME c/symbols COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM}
    -DLIBRARY=$<TARGET_FILE:myco_shared> -DSYMBOLS=${CMAKE_SOURCE_DIR}/runtime/test/symbols.txt
    -P ${CMAKE_SOURCE_DIR}/runtime/test/symbols.cmake)
  add_test(NAME c/manual COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:mycorrizal>
    -DMANUAL=${CMAKE_SOURCE_DIR}/runtime/host/mycorrizal.1 -P ${CMAKE_SOURCE_DIR}/runtime/test/manual.cmake)
  if(NOT MYCO_SANITIZE)
    add_test(NAME c/install COMMAND ${CMAKE_COMMAND} -DBUILD=${CMAKE_BINARY_DIR}
      -DCONSUMER=${CMAKE_SOURCE_DIR}/runtime/test/consumer -DLIBDIR=${CMAKE_INSTALL_LIBDIR}
      -DDATADIR=${CMAKE_INSTALL_DATADIR} -P ${CMAKE_SOURCE_DIR}/runtime/test/install.cmake)
  endif()
endif()
