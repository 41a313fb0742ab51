/** Milliseconds in which a process whose work is done may end by itself. */
const GRACE = 200;

/**
 * Ends the process with a code, though something would keep it alive: a timer, socket or worker of an environment that nobody
 * closes. What was written is written out first.
 */
export function endProcess(code: number): void {
  process.exitCode = code;
  // The timer itself keeps nothing alive: it fires only where something else does.
  const timer = setTimeout(() => {
    void Promise.all([process.stdout, process.stderr].map(writtenOut)).then(() => process.exit(code));
  }, GRACE);
  timer.unref();
}

function writtenOut(stream: NodeJS.WriteStream): Promise<void> | undefined {
  if (stream.destroyed || stream.writableLength === 0) return undefined;
  return new Promise((resolve) => stream.write("", () => resolve()));
}
