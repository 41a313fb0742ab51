// A training loop of one's own: REINFORCE (Williams 1992) on a run's policy.
//
//   node own-loop.mjs runs/first [steps]
import { Agent, createTrainer, evaluatePolicy, packBatch } from "spa-ai";

const [source, steps = "20"] = process.argv.slice(2);
const agent = await Agent.load(source);
const trainer = createTrainer(agent.model, { optimizer: { learningRate: 1e-3 } });
console.log(`before: Pass@1 ${(await evaluatePolicy(agent)).passAt1.toFixed(3)}`);

for (let step = 0; step < Number(steps); step++) {
  const levels = Array.from({ length: 32 }, (_, index) => agent.config.levels.trainSeed + 32 * step + index);
  const trajectories = await Promise.all(levels.map((level) => agent.play(undefined, { level })));
  await trainer.step(packBatch(trajectories), { kind: "ppo", clipLow: null });
  const reward = trajectories.reduce((sum, { totalReward }) => sum + totalReward, 0) / trajectories.length;
  console.log(`step ${step + 1}: reward ${reward.toFixed(3)}`);
}

console.log(`after: Pass@1 ${(await evaluatePolicy(agent)).passAt1.toFixed(3)}`);
await agent.dispose(); // the trainer ends with its model
