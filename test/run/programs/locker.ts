// Takes the lock of the folder in argv[2] and holds it until its input ends. `contend` in argv[3]: takes and releases
// it over and over, checking each time with an exclusively created file that nobody else is inside. `try`: says whether it
// is given.
import { closeSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { SpaError } from "../../../lib/errors.ts";
import { acquireLock } from "../../../lib/files/lock.ts";

const [, , folder, mode, rounds] = process.argv;

function contend(count: number): void {
  const inside = join(folder, "inside");
  for (let taken = 0; taken < count; ) {
    try {
      using _lock = acquireLock(folder);
      taken++;
      closeSync(openSync(inside, "wx"));
      rmSync(inside);
    } catch (error) {
      if (!(error instanceof SpaError && error.code === "RUN_LOCKED")) throw error;
    }
  }
  console.log("finished");
}

function tryOnce(): void {
  try {
    acquireLock(folder)[Symbol.dispose]();
    console.log("given");
  } catch (error) {
    console.log(error instanceof SpaError && error.code === "RUN_LOCKED" ? "refused" : error);
  }
}

if (mode === "contend") {
  contend(Number(rounds));
} else if (mode === "try") {
  tryOnce();
} else {
  acquireLock(folder);
  console.log("locked");
  process.stdin.resume();
}
