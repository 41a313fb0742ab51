#!/usr/bin/env node
// The command line starts from plain JavaScript so that a package that was never built answers with the one
// command that mends it, not with a stack trace.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const cli = new URL("../dist/lib/cli/main.js", import.meta.url);
if (process.argv[2] === "setup") {
  await import("../setup/setup.mjs");
} else if (!existsSync(fileURLToPath(cli))) {
  console.error(
    "spa: the package is not built yet. Run: npm run setup   (in an installed package: npx spa setup)",
  );
  process.exitCode = 3;
} else {
  const { main, endProcess } = await import(cli.href);
  endProcess(await main(process.argv.slice(2)));
}
