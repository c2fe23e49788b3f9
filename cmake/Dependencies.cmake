# Everything comes from Debian 12 or its backports; scripts/setup installs it.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3 REQUIRED)

pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv>=1.44)
pkg_check_modules(LUA REQUIRED IMPORTED_TARGET lua5.4)
pkg_check_modules(LUV REQUIRED IMPORTED_TARGET lua5.4-luv)
pkg_check_modules(MSGPACK REQUIRED IMPORTED_TARGET msgpack)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(CK REQUIRED IMPORTED_TARGET ck)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl>=7.84) # curl_easy_header(); only of modules/s3
pkg_check_modules(EXPAT REQUIRED IMPORTED_TARGET expat)
pkg_check_modules(EDIT REQUIRED IMPORTED_TARGET libedit)

# Older versions commit entries of earlier terms by counting replicas (the Raft paper's figure 8).
pkg_check_modules(RAFT IMPORTED_TARGET raft>=0.22)
if(NOT RAFT_FOUND OR RAFT_VERSION VERSION_GREATER_EQUAL 0.23)
  message(FATAL_ERROR "libraft 0.22 is needed: older versions can lose committed entries, newer ones own memory otherwise. "
                      "On Debian 12 it is in bookworm-backports: run scripts/setup.")
endif()
