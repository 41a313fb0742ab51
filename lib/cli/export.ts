import type { Command } from "commander";
import { exportModel } from "../stages/export.ts";
import { whileInterruptible } from "./download.ts";
import { namedRun } from "./find-run.ts";
import { print } from "./print.ts";
import { showPath } from "./run-options.ts";

interface ExportCommandOptions {
  stage?: string;
  to: string;
  adapter?: boolean;
}

const help = `
Writes config.json, generation_config.json, *.safetensors and the tokenizer, merged where the run trained adapters
(lora), without value head, in the form that transformers and vLLM read:

  spa export runs/first --to models/first
  python -c 'import transformers; transformers.AutoModelForCausalLM.from_pretrained("models/first")'
  vllm serve models/first

Others:
  spa export runs/first --stage spa/sft --to models/first-sft
  spa export runs/first --adapter --to adapters/first       PEFT's files, for the base model they name`;

/** `spa export`. */
export function addExportCommand(program: Command, finish: (code: number) => void): void {
  program
    .command("export")
    .description("write a run's model as a Hugging Face folder, adapters merged")
    .argument("<run>", "the run folder")
    .requiredOption("--to <folder>", "the folder to write, new or empty")
    .option(
      "--stage <id>",
      "the stage whose newest checkpoint to take (default: spa/ppo, or the one saved last)",
    )
    .option("--adapter", "write the adapter alone, as PEFT's files")
    .addHelpText("after", help)
    .action(async (folder: string, options: ExportCommandOptions) => {
      const {
        stage,
        step,
        folder: written,
      } = await whileInterruptible({ log: "auto" }, (progress, signal) =>
        exportModel(namedRun(folder), { ...options, progress, signal }),
      );
      print(`${stage}, step ${step}: ${showPath(written)}`);
      finish(0);
    });
}
