# One stranger's way to thrum, as a script: HOW is find_package, pkg_config, add_subdirectory, or install,
# which builds and installs the package that the first two use; FLAVOUR is static or shared; TLS and DNS tell whether
# to use thrum::tls and thrum::dns as well.

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY COMMAND_ECHO STDOUT)
endfunction()

# Configures and builds `source` in `binary`, with further -D arguments.
function(build source binary)
  run(${CMAKE_COMMAND} -S ${source} -B ${binary} -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${CXX}
      -DCMAKE_BUILD_TYPE=Release ${ARGN})
  run(${CMAKE_COMMAND} --build ${binary})
endfunction()

function(install_package)
  file(REMOVE_RECURSE ${PACKAGE})
  build(${ROOT} ${WORK}/library -DTHRUM_BUILD_TESTS=OFF -DTHRUM_BUILD_EXAMPLES=OFF -DTHRUM_BUILD_LAB=OFF
        -DTHRUM_BUILD_BENCH=OFF -DCMAKE_INSTALL_PREFIX=${PACKAGE} -DCMAKE_INSTALL_LIBDIR=lib)
  run(${CMAKE_COMMAND} --install ${WORK}/library)
endfunction()

# Sets `out` to what `pkg-config ARGN thrum` prints, as a list.
function(pkg_config out)
  set(ENV{PKG_CONFIG_PATH} ${PACKAGE}/lib/pkgconfig)
  execute_process(COMMAND pkg-config ${ARGN} thrum OUTPUT_VARIABLE text OUTPUT_STRIP_TRAILING_WHITESPACE
                  COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(arguments UNIX_COMMAND "${text}")
  set(${out} ${arguments} PARENT_SCOPE)
endfunction()

# Beside a shared library the linker takes an archive only when it is named in full.
function(build_with_pkg_config program)
  file(MAKE_DIRECTORY ${WORK}/pkg_config.${FLAVOUR})
  pkg_config(compile --cflags)
  if(FLAVOUR STREQUAL "static")
    pkg_config(link --variable=libdir)
    pkg_config(others --libs --static)
    list(REMOVE_ITEM others -lthrum)
    set(link ${link}/libthrum.a ${others})
  else()
    pkg_config(link --libs)
    list(APPEND link -Wl,-rpath,${PACKAGE}/lib)
  endif()
  run(${CXX} -std=c++20 -O2 ${compile} ${ROOT}/tests/consumer/project/main.cpp ${link} -pthread -o ${program})
endfunction()

function(check_result program)
  execute_process(COMMAND ${program} OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
  if(NOT text STREQUAL "the sum is 55\n")
    message(FATAL_ERROR "the program printed '${text}'")
  endif()
  execute_process(COMMAND ldd ${program} OUTPUT_VARIABLE libraries COMMAND_ERROR_IS_FATAL ANY)
  set(found static)
  if(libraries MATCHES "libthrum\\.so")
    set(found shared)
  endif()
  if(NOT found STREQUAL FLAVOUR)
    message(FATAL_ERROR "asked for the ${FLAVOUR} library, got:\n${libraries}")
  endif()
endfunction()

function(check_part program expected)
  execute_process(COMMAND ${program} OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
  if(NOT text STREQUAL "${expected}\n")
    message(FATAL_ERROR "the program printed '${text}'")
  endif()
endfunction()

# Interposed calls agree with those of a program without thrum, however the library comes into the program; and in one
# of the ways, beside another allocator.
function(check_interposition directory)
  execute_process(COMMAND ${directory}/without_thrum OUTPUT_VARIABLE expected COMMAND_ERROR_IS_FATAL ANY)
  set(ways "interposed 1" "interposed 4" "interposed_thread")
  if(FLAVOUR STREQUAL "shared")
    set(preloaded ${PACKAGE}/lib/libthrum_interpose.so)
    list(APPEND ways "PRELOAD ${preloaded} to_be_preloaded 1" "PRELOAD ${preloaded} to_be_preloaded 4"
         "PRELOAD ${preloaded} without_thrum")
    file(GLOB allocator /usr/lib/*/libjemalloc.so.2)
    if(allocator)
      list(APPEND ways "PRELOAD ${preloaded}:${allocator} to_be_preloaded 2"
           "PRELOAD ${allocator}:${preloaded} to_be_preloaded 2")
    endif()
  endif()
  foreach(way IN LISTS ways)
    separate_arguments(command UNIX_COMMAND "${way}")
    set(environment LD_LIBRARY_PATH=${PACKAGE}/lib)  # libthrum_interpose.so needs libthrum.so.
    if(way MATCHES "^PRELOAD")
      list(POP_FRONT command keyword libraries)
      list(APPEND environment LD_PRELOAD=${libraries})
    endif()
    list(POP_FRONT command name)
    execute_process(COMMAND ${CMAKE_COMMAND} -E env ${environment} ${directory}/${name} ${command}
                    OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY TIMEOUT 120)
    if(NOT text STREQUAL expected)
      message(FATAL_ERROR "${way} printed\n${text}instead of\n${expected}")
    endif()
  endforeach()
endfunction()

# The installed library is optimised, as users get it. For the rest it matters that it builds and works.
function(build_quickly)
  build(${ROOT}/tests/consumer/project ${WORK}/${HOW}.${FLAVOUR} -DTLS=${TLS} -DDNS=${DNS}
        -DCMAKE_CXX_FLAGS_RELEASE=-O0 ${ARGN})
endfunction()

set(program ${WORK}/${HOW}.${FLAVOUR}/consumer)
if(HOW STREQUAL "install")
  install_package()
  return()
elseif(HOW STREQUAL "find_package")
  build_quickly(-DCMAKE_PREFIX_PATH=${PACKAGE} -DFLAVOUR=${FLAVOUR} -DCASES=${ROOT}/tests/interpose)
elseif(HOW STREQUAL "pkg_config")
  build_with_pkg_config(${program})
else()
  build_quickly(-DROOT=${ROOT})
endif()
check_result(${program})
if(TLS AND NOT HOW STREQUAL "pkg_config")
  check_part(${WORK}/${HOW}.${FLAVOUR}/tls_consumer "tls: wrong version number")
endif()
if(DNS AND NOT HOW STREQUAL "pkg_config")
  check_part(${WORK}/${HOW}.${FLAVOUR}/dns_consumer "thrum.dns: no name server could be reached")
endif()
if(HOW STREQUAL "find_package")
  check_interposition(${WORK}/${HOW}.${FLAVOUR})
endif()
