// A run that is stopped in order and gone on with, to the same numbers, with progress of one's own.
//
//   node abort-and-go-on.mjs [preset or file] [key=value …]
import { loadConfig, resume, train } from "spa-ai";

const [preset = "nano-frozen-lake-single-turn", ...settings] = process.argv.slice(2);
const stop = new AbortController();

/** Tells of stages, and stops the run in the middle of the base stage. */
let stage;
const progress = {
  stage: (id, total) => {
    stage = id;
    console.log(`${id}: ${total} to do`);
  },
  tick: (done) => {
    if (stage === "base" && done >= 5) stop.abort(new Error("five are enough for now"));
  },
  note: (text) => console.log(text),
  done: () => {},
};

try {
  await train(loadConfig(preset, settings), { progress, signal: stop.signal });
} catch (error) {
  if (error.code !== "ABORTED" || error.folder === undefined) throw error;
  console.log(`${error.message}; going on with ${error.folder}`);
  const { results } = await resume(error.folder, { progress });
  console.log(`done: ${Object.keys(results.evaluations).join(", ")}`);
}
