// Compiles the CUDA side with nvcc, warnings as errors, and runs nothing of it: no GPU is needed.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { inRoot, run } from "../setup/step.mjs";

const help = `Usage: LIBTORCH=<folder> npm run compile:cuda [-- architectures]

Compiles the kernels for each architecture (80 and 90 if none is given) and the addon around them, in build-cuda.

It needs nvcc 13 (on the path, or CUDACXX), and a libtorch with CUDA: LIBTORCH names the folder with its include/ and
lib/, as a wheel of torch has them. The libraries that it wants at run time may be absent.

Exit codes: 0 compiled, 1 did not compile, 2 bad usage`;

function problem(message) {
  console.error(`error: ${message}\n\n${help}`);
  process.exitCode = 2;
}

async function compile(libtorch, architectures) {
  const folder = inRoot("build-cuda");
  const definitions = {
    LIBTORCH: libtorch,
    USE_CUDA: "ON",
    CMAKE_CUDA_ARCHITECTURES: architectures.join(";"),
    CMAKE_CUDA_FLAGS: "-Werror all-warnings",
    CMAKE_CXX_FLAGS: "-Werror",
  };
  const settings = Object.entries(definitions).map(([name, value]) => `-D${name}=${value}`);
  try {
    await run("cmake", ["-S", inRoot(), "-B", folder, ...settings], { show: true });
    for (const target of ["spa_kernels_cuda", "spa"])
      await run("cmake", ["--build", folder, "--target", target], { show: true });
  } catch {
    process.exitCode = 1;
  }
}

const given = process.argv.slice(2);
const libtorch = process.env.LIBTORCH;
const stranger = given.find((argument) => !/^\d{2,3}a?$/.test(argument));
if (given.includes("--help") || given.includes("-h")) {
  console.log(help);
} else if (stranger !== undefined) {
  problem(`'${stranger}' is no architecture such as 80 or 90a`);
} else if (libtorch === undefined || !existsSync(join(libtorch, "lib", "libtorch_cuda.so"))) {
  problem(`LIBTORCH=${libtorch ?? ""} names no libtorch with CUDA (lib/libtorch_cuda.so)`);
} else {
  await compile(libtorch, given.length > 0 ? given : ["80", "90"]);
}
