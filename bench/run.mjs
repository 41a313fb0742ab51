// Entry of `npm run bench`: plain JavaScript, so that a clone that was never built says what to run.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const main = new URL("../dist/bench/main.js", import.meta.url);
if (!existsSync(fileURLToPath(main))) {
  console.error("bench: the package is not built yet. Run: npm run setup");
  process.exitCode = 3;
} else {
  const { runBench } = await import(main.href);
  process.exitCode = await runBench(process.argv.slice(2));
}
