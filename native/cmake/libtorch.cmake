# Hand-made imported target: find_package(Torch) drags in run paths and compiler wrappers that we do not want.
if(NOT LIBTORCH OR NOT EXISTS ${LIBTORCH}/include/ATen/ATen.h)
  message(FATAL_ERROR "LIBTORCH='${LIBTORCH}' holds no libtorch (include/ATen/ATen.h). Run: npm run setup")
endif()
set(TORCH_LIB ${LIBTORCH}/lib)
set(SHARED ${CMAKE_SHARED_LIBRARY_SUFFIX})

set(TORCH_CUDA_FOUND OFF)
if(EXISTS ${TORCH_LIB}/libtorch_cuda${SHARED})
  set(TORCH_CUDA_FOUND ON)
endif()

add_library(libtorch INTERFACE)
target_include_directories(libtorch SYSTEM INTERFACE ${LIBTORCH}/include ${LIBTORCH}/include/torch/csrc/api/include)
# libtorch is built with exceptions, RTTI and the C++11 ABI, and with OpenMP in its inlined at::parallel_for.
if(NOT APPLE)
  target_link_options(libtorch INTERFACE -Wl,--no-as-needed -Wl,-rpath-link,${TORCH_LIB})
endif()
target_link_libraries(libtorch INTERFACE ${TORCH_LIB}/libtorch${SHARED} ${TORCH_LIB}/libtorch_cpu${SHARED} ${TORCH_LIB}/libc10${SHARED})

# One OpenMP runtime in the process: the one that libtorch brings (a wheel has it beside libtorch), else the system's.
file(GLOB TORCH_OPENMP ${TORCH_LIB}/libgomp*.so* ${TORCH_LIB}/libomp*.dylib ${TORCH_LIB}/libomp*.so ${TORCH_LIB}/libiomp5.so
     ${LIBTORCH}/../torch.libs/libgomp*.so*)
if(TORCH_OPENMP)
  list(GET TORCH_OPENMP 0 TORCH_OPENMP)
  if(APPLE)
    target_compile_options(libtorch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Xclang> $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
  else()
    target_compile_options(libtorch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
  endif()
  target_link_libraries(libtorch INTERFACE ${TORCH_OPENMP})
else()
  find_package(OpenMP COMPONENTS CXX)
  if(OpenMP_CXX_FOUND)
    target_link_libraries(libtorch INTERFACE OpenMP::OpenMP_CXX)
  endif()
endif()
