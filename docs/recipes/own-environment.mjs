// An environment of one's own, registered in a program, and a run on it.
//
//   node own-environment.mjs [key=value …]
import { createProgress, loadConfig, train } from "spa-ai";
import { registerEnvironment } from "spa-ai/envs";

/** A corridor: walk to the coin. The level is a line such as `__P___C`. */
function createCorridor({ length = 7 } = {}) {
  let game; // { player, coin, steps }
  const draw = () =>
    Array.from({ length }, (_, cell) => (cell === game.player ? "P" : cell === game.coin ? "C" : "_")).join(
      "",
    );
  return {
    name: "corridor",
    actions: ["Left", "Right"],
    instructions: () => "Walk to the coin. P is you, C the coin, _ floor. An action is Left or Right.",
    reset({ seed = 0, level }) {
      const player = level ? level.indexOf("P") : (seed * 7919) % length;
      const coin = level ? level.indexOf("C") : (player + 1 + ((seed * 104729) % (length - 1))) % length;
      game = { player, coin, steps: 0 };
      return draw();
    },
    step(action) {
      const before = game.player;
      const valid = action === "Left" || action === "Right";
      const wanted = before + (valid ? (action === "Left" ? -1 : 1) : 0);
      game = { ...game, player: Math.min(Math.max(wanted, 0), length - 1), steps: game.steps + 1 };
      const success = game.player === game.coin;
      const info = { valid, effective: game.player !== before, success };
      const truncated = !success && game.steps >= 20;
      return { observation: draw(), reward: Number(success), terminated: success, truncated, info };
    },
    render: (mode) =>
      mode === "grid" ? draw() : `${draw()}\nPlayer (P) at ${game.player}; coin (C) at ${game.coin}.`,
    state: () => ({ ...game }),
    restore(state) {
      game = { ...state };
    },
    shortestSolution: () => Math.abs(game.coin - game.player),
  };
}

registerEnvironment("corridor", createCorridor, { description: "walk along a corridor to a coin" });

const settings = ["environment.name=corridor", "levels.disjoint=false", ...process.argv.slice(2)];
const progress = createProgress({ mode: "plain", stream: process.stderr });
const { folder, results } = await train(loadConfig("nano-frozen-lake-single-turn", settings), { progress });
for (const [policy, { passAt1 }] of Object.entries(results.evaluations))
  console.log(`${policy}: Pass@1 ${passAt1.toFixed(3)}`);
console.log(folder);
