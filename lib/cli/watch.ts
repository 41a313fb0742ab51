import { type Command, InvalidArgumentError } from "commander";
import { watchRuns } from "../watch/server.ts";
import { WatchedRuns } from "../watch/watched-runs.ts";
import { namedRun, runsFolder } from "./find-run.ts";
import { untilInterrupted } from "./interrupt.ts";
import { print } from "./print.ts";

const help = `
The page follows runs while they work: curves of several over each other, trajectories with boards, differing settings; it can stop a run and
go on with one. Its address has a secret in it. Without runs: all in runs/, also those that begin later. Ctrl-C ends the page, and no run.

Examples:
  spa watch
  spa watch runs/a runs/b
  SPA_WATCH_PASSWORD=… spa watch --host 0.0.0.0 --port 8080     for other machines, unencrypted: behind a proxy with TLS, or by ssh -L`;

function port(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 65_535)
    throw new InvalidArgumentError("It must be a port, 0 to 65535.");
  return value;
}

/** `spa watch`. */
export function addWatchCommand(program: Command, finish: (code: number) => void): void {
  program
    .command("watch")
    .description("show runs on a local page while they work")
    .argument("[runs...]", "run folders (default: all in runs/)")
    .option("--port <number>", "0 takes one that is free", port, 0)
    .option(
      "--host <address>",
      "where to listen; other than this machine's own takes SPA_WATCH_PASSWORD",
      "127.0.0.1",
    )
    .addHelpText("after", help)
    .action(async (folders: string[], options: { port: number; host: string }) => {
      const runs =
        folders.length > 0 ? new WatchedRuns(folders.map(namedRun)) : new WatchedRuns([], runsFolder);
      const server = await watchRuns(runs, { ...options, password: process.env.SPA_WATCH_PASSWORD });
      print(`${server.address}\n(Ctrl-C ends it)`);
      const notices = { first: () => {}, second: () => {} };
      await untilInterrupted(
        notices,
        (signal) => new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve())),
      );
      await server.close();
      finish(0);
    });
}
