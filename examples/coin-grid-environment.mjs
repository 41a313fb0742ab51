// An environment of one's own, for `--env ./examples/coin-grid-environment.mjs`: walk over a grid to a coin.
// The package needs `name` and `create`; the methods are those of the Environment interface in spa-ai/envs.
export const name = "coin-grid";
const MOVES = { Up: [-1, 0], Down: [1, 0], Left: [0, -1], Right: [0, 1] };

export function create({ size = 4, maxSteps = 20 } = {}) {
  let game; // { player, coin, steps, over }; player and coin are cells, counted row by row
  const draw = (cell) => (cell === game.player ? "P" : cell === game.coin ? "C" : "_");
  const line = (row) => Array.from({ length: size }, (_, column) => draw(row * size + column)).join("");
  const grid = () => Array.from({ length: size }, (_, row) => line(row)).join("\n");
  const place = (cell) => `(${Math.floor(cell / size)},${cell % size})`;
  return {
    name,
    actions: Object.keys(MOVES),
    instructions: () =>
      "Walk to the coin. P is you, C the coin, _ floor. An action is Up, Down, Left or Right.",
    reset({ seed = 0, level }) {
      const cells = level?.replaceAll("\n", "");
      const player = cells ? cells.indexOf("P") : (seed * 7919) % size ** 2;
      const coin = cells
        ? cells.indexOf("C")
        : (player + 1 + ((seed * 104729) % (size ** 2 - 1))) % size ** 2;
      game = { player, coin, steps: 0, over: false };
      return grid();
    },
    step(action) {
      if (game.over) throw new Error("the episode is over");
      const [down, right] = Object.hasOwn(MOVES, action) ? MOVES[action] : [0, 0];
      const row = Math.min(Math.max(Math.floor(game.player / size) + down, 0), size - 1);
      const column = Math.min(Math.max((game.player % size) + right, 0), size - 1);
      const effective = row * size + column !== game.player;
      const success = row * size + column === game.coin;
      const truncated = !success && game.steps + 1 >= maxSteps;
      game = { ...game, player: row * size + column, steps: game.steps + 1, over: success || truncated };
      const info = { valid: Object.hasOwn(MOVES, action), effective, success };
      return { observation: grid(), reward: Number(success), terminated: success, truncated, info };
    },
    render: (mode) =>
      mode === "grid"
        ? grid()
        : `${grid()}\nPlayer (P) at ${place(game.player)}; coin (C) at ${place(game.coin)}.`,
    state: () => ({ ...game }),
    restore(state) {
      game = { ...state };
    },
  };
}
