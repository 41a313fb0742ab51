import { describe, expect, it } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import type { Trajectory, Turn } from "../../lib/rollout/trajectory.ts";
import { TurnProtocol } from "../../lib/rollout/turn-protocol.ts";
import { worldModelQuality } from "../../lib/stages/world-model.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import type { StateText } from "../../lib/text/state-text.ts";

function protocolOf(format: "plain" | "world-model", traceState: "grid" | "structured" = "structured") {
  const { protocol } = configSchema.parse({ protocol: { traceState } });
  return new TurnProtocol(nanoTokenizer(), protocol, format);
}

const start = {
  grid: "P_O\nO_G",
  structured: "P_O\nO_G\nPlayer (P) at (0,0); holes (O) at (0,2) and (1,0); goal (G) at (1,2).",
};
const right = {
  grid: "_PO\nO_G",
  structured: "_PO\nO_G\nPlayer (P) at (0,1); holes (O) at (0,2) and (1,0); goal (G) at (1,2).",
};

interface Played {
  from: StateText;
  to: StateText;
  actions: number;
  observation?: string;
  prediction?: string;
}

function turn({ from, to, actions, ...written }: Played): Turn {
  return {
    message: "",
    begin: 0,
    end: 1,
    reward: 0,
    valid: actions > 0,
    actions: new Array<string>(actions).fill("Right"),
    executed: actions,
    stateBefore: from,
    stateAfter: to,
    effective: from !== to,
    ...written,
  };
}

const trajectory = (success: boolean, ...turns: Played[]) =>
  ({ success, turns: turns.map(turn) }) as unknown as Trajectory;

const trajectories = [
  trajectory(
    true,
    // Both right; the holes of the observation stand the other way round, which makes the whole wrong and the part right.
    {
      from: start,
      to: right,
      actions: 1,
      observation: start.structured,
      prediction: ` ${right.structured}\n`,
    },
    {
      from: right,
      to: right,
      actions: 2,
      observation: "_PO\nO_G\nPlayer (P) at (0,1); holes (O) at (1,0) and (0,2); goal (G) at (1,2).",
      prediction: right.structured,
    },
  ),
  trajectory(
    false,
    // Copies the state; a row short and without goal and with one hole only.
    { from: start, to: right, actions: 2, observation: start.structured, prediction: start.structured },
    {
      from: right,
      to: right,
      actions: 1,
      observation: "_PO\nPlayer (P) at (0,1); hole (O) at (0,2).",
      prediction: "",
    },
  ),
  trajectory(false, { from: start, to: start, actions: 0 }),
  trajectory(true),
];

describe("worldModelQuality", () => {
  const share = (of: number, count: number) => ({ share: count === 0 ? null : of / count, count });

  it("splits right states by change, actions and part", () => {
    const quality = worldModelQuality(trajectories, protocolOf("world-model"));
    expect(quality?.observation).toEqual({
      all: share(2, 5),
      changed: share(2, 2),
      unchanged: share(0, 3),
      byActions: { 0: share(0, 1), 1: share(1, 2), 2: share(1, 2) },
      parts: { player: share(4, 5), hole: share(3, 5), goal: share(3, 5) },
      // Three whole grids of six cells, one with its first row, one with none.
      cells: share(3 * 6 + 3, 30),
    });
    expect(quality?.prediction).toEqual({
      all: share(2, 5),
      changed: share(1, 2),
      unchanged: share(1, 3),
      byActions: { 0: share(0, 1), 1: share(1, 2), 2: share(1, 2) },
      parts: { player: share(2, 5), hole: share(3, 5), goal: share(3, 5) },
      cells: share(2 * 6 + 4, 30),
    });
  });

  it("tells whether turns do what they predict, and whether success follows right predictions", () => {
    const quality = worldModelQuality(trajectories, protocolOf("world-model"));
    expect(quality?.followed).toEqual(share(1, 2));
    expect(quality?.success).toEqual({ firstRight: share(1, 1), firstWrong: share(0, 2) });
    const nothing = worldModelQuality([], protocolOf("world-model"));
    expect(nothing).toMatchObject({ followed: share(0, 0), success: { firstRight: share(0, 0) } });
    expect(nothing?.prediction).toMatchObject({ byActions: {}, parts: {}, cells: share(0, 0) });
  });

  it("knows boxes in the singular, empty cells, and parts that a true state does not name", () => {
    const none = { grid: "1 2\n2 1", structured: "1 2\n2 1\nEmpty cells: none." };
    const one = { grid: "1 .\n2 1", structured: "1 .\n2 1\nEmpty cells: (1,2)." };
    const boxes = { grid: "PX", structured: "PX\nPlayer (P) at (0,0); boxes (X) at (0,1) and (0,2)." };
    const box = { grid: "P_", structured: "P_\nPlayer (P) at (0,0); box (X) at (0,2)." };
    const bare = { grid: "P_", structured: "P_\nPlayer (P) at (0,0)." };
    const played = (from: StateText, observation: string) =>
      trajectory(false, { from, to: from, actions: 1, observation });
    const partsOf = (...all: Trajectory[]) =>
      worldModelQuality(all, protocolOf("world-model"))?.observation.parts;
    expect(partsOf(played(one, one.structured), played(none, "Empty cells: none."))).toEqual({
      "empty cell": share(2, 2),
    });
    const sokoban = [played(boxes, box.structured), played(box, box.structured)];
    expect(partsOf(...sokoban, played(bare, box.structured), played(bare, bare.structured))).toEqual({
      player: share(4, 4),
      box: share(1, 3),
    });
    expect(partsOf(played(bare, "Monster (M) at (0,0)"))).toEqual({ player: share(0, 1) });
  });

  it("has no parts where states are grids alone, and nothing to say of plain replies", () => {
    const grids = worldModelQuality(
      [trajectory(true, { from: start, to: right, actions: 1, observation: start.grid, prediction: "_PO" })],
      protocolOf("world-model", "grid"),
    );
    expect(grids).toMatchObject({
      observation: { all: share(1, 1), parts: {}, cells: share(6, 6) },
      prediction: { all: share(0, 1), cells: share(3, 6) },
    });
    expect(worldModelQuality(trajectories, protocolOf("plain"))).toBeUndefined();
  });
});
