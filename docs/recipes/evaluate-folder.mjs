// How often a model from a folder (or the Hub) solves an environment's test levels, with 95 % intervals.
//
//   node evaluate-folder.mjs models/first [environment] [preset] [key=value …]
import { Agent, evaluatePolicy, loadConfig } from "spa-ai";

const [source, environment = "frozen-lake", preset = "nano-frozen-lake", ...settings] = process.argv.slice(2);
const agent = await Agent.load(source, { config: loadConfig(preset, settings) });
const evaluation = await evaluatePolicy(agent, environment, {
  onProgress: (done, total) => process.stderr.write(`\r${done} of ${total} episodes`),
});
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const { passAt1, passAtK, k, ci95, levels, samples } = evaluation;
console.log(`\n${agent.name}: ${levels} levels of ${environment}, ${samples} episodes each`);
console.log(`Pass@1 ${percent(passAt1)} [${ci95.passAt1.map(percent).join(", ")}]`);
console.log(`Pass@${k} ${percent(passAtK)} [${ci95.passAtK.map(percent).join(", ")}]`);
await agent.dispose();
