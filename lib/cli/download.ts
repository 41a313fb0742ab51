import { type Command, Option } from "commander";
import { SpaError } from "../errors.ts";
import { isModelFolder, resolveModel } from "../hub/resolve-model.ts";
import { showDownload } from "../stages/show-download.ts";
import { untilInterrupted } from "./interrupt.ts";
import { print, printError } from "./print.ts";
import { type ProgressOptionValues, progressFor } from "./progress-mode.ts";

interface DownloadOptions extends ProgressOptionValues {
  revision: string;
}

const help = `
Fetches what training needs (configuration, tokenizer, safetensors) into the cache that all Hugging Face programs share
(HF_HOME, HF_HUB_CACHE), and prints the folder. Started again after an interruption it goes on with the rest.

Variables: HF_TOKEN (gated and private models), HF_ENDPOINT (a mirror), HF_HUB_OFFLINE=1, HTTPS_PROXY, NO_PROXY

Examples:
  spa download Qwen/Qwen2.5-1.5B-Instruct
  spa download meta-llama/Llama-3.2-1B-Instruct --revision main`;

/** `spa download`. */
export function addDownloadCommand(program: Command, finish: (code: number) => void): void {
  program
    .command("download")
    .description("fetch a model from the Hugging Face Hub into the cache")
    .argument("<id>", "organisation/name, as the model's page shows it")
    .option("--revision <revision>", "branch, tag or commit", "main")
    .option("-q, --quiet", "print nothing but the folder")
    .addOption(
      new Option("--log <form>", "how progress is told").choices(["auto", "plain", "json"]).default("auto"),
    )
    .addHelpText("after", help)
    .action(async (id: string, options: DownloadOptions) => {
      if (isModelFolder(id)) {
        throw new SpaError("BAD_ARGUMENT", `${id} is a path, not the id of a model at the Hub`, {
          hint: "give organisation/name; a folder needs no download: model=<folder>",
        });
      }
      const { folder } = await whileInterruptible(options, (progress, signal) =>
        resolveModel(id, { revision: options.revision, signal, ...showDownload(progress, id) }),
      );
      print(folder);
      finish(0);
    });
}

/** Does what comes before a run: shows progress, and stops in order at the first Ctrl-C. */
export async function whileInterruptible<T>(
  options: ProgressOptionValues,
  work: (progress: ReturnType<typeof progressFor>, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const progress = progressFor(options);
  const notices = {
    first: () => progress.note("stopping; what has been fetched is kept"),
    second: () => printError("\nstopped at once; what has been fetched is kept"),
  };
  return untilInterrupted(notices, (signal) => work(progress, signal));
}
