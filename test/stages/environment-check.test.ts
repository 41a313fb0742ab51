import { describe, expect, it } from "vitest";
import type { Environment, Json, ResetOptions } from "../../envs/environment.ts";
import { createEnvironment } from "../../envs/index.ts";
import type { Finding } from "../../lib/rollout/contract.ts";
import { SeededGenerator } from "../../lib/rollout/seeded-generator.ts";
import { checkEnvironment, tryEnvironment } from "../../lib/stages/environment-check.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { builtIn } from "../envs/built-in.ts";
import { rejection } from "../thrown-error.ts";
import { tinyConfig } from "./tiny-run.ts";

const tokenizer = nanoTokenizer();
const ACTIONS = ["Left", "Right"];

/** A walk along a line to the flag at its end. */
class Walk implements Environment {
  readonly name = "walk";
  readonly actions: readonly string[] = ACTIONS;
  protected at = 0;
  protected steps = 0;
  closed = 0;

  instructions = () => "Walk to the flag.";

  reset({ seed = 0, level }: ResetOptions): string | Promise<string> {
    this.at = level === undefined ? seed % 6 : level.indexOf("P");
    this.steps = 0;
    return this.render();
  }

  step(action: string) {
    const before = this.at;
    if (action === "Left") this.at = Math.max(0, this.at - 1);
    if (action === "Right") this.at++;
    this.steps++;
    const success = this.at === 7;
    const info = { valid: ACTIONS.includes(action), effective: this.at !== before, success };
    return {
      observation: this.render(),
      reward: Number(success),
      terminated: success,
      truncated: !success && this.steps >= 12,
      info,
    };
  }

  render(): string {
    return Array.from({ length: 8 }, (_, cell) => (cell === this.at ? "P" : cell === 7 ? "G" : "_")).join("");
  }

  state(): Json {
    return { at: this.at, steps: this.steps };
  }

  restore(state: Json): void {
    Object.assign(this, state);
  }

  close(): void {
    this.closed++;
  }
}

/** The check's findings on objects that `make` makes. */
async function findings(make: () => Environment, changes: Record<string, unknown> = {}): Promise<Finding[]> {
  const found: Finding[] = [];
  for await (const finding of checkEnvironment(tinyConfig(changes), tokenizer, make)) found.push(finding);
  return found;
}

const quick = (make: () => Environment, notes: string[] = []) =>
  tryEnvironment(tinyConfig(), tokenizer, make, { note: (text) => notes.push(text) });

let shared = 0;
let draws = 0;
const slips = new SeededGenerator("slips");
const only = new Walk();

/** What a run refuses: the check that finds it, and what that says. */
const refused: [what: string, make: () => Environment, check: string, says: RegExp][] = [
  ["one object", () => only, "", /same object twice/],
  [
    "state in the module",
    () =>
      new (class extends Walk {
        override reset(options: ResetOptions) {
          void super.reset(options);
          shared = this.at;
          return this.render();
        }
        override step(action: string) {
          this.at = shared;
          const result = super.step(action);
          shared = this.at;
          return result;
        }
      })(),
    "two at once",
    /share state: .* level seed \d+, step \d+/,
  ],
  [
    "a level that the seed does not decide",
    () =>
      new (class extends Walk {
        override reset({ level }: ResetOptions) {
          return super.reset({ seed: draws++, ...(level !== undefined && { level }) });
        }
      })(),
    "seeds",
    /reset\(\{ seed: \d+ \}\) gives another level each time/,
  ],
  [
    "a level that is ignored",
    () =>
      new (class extends Walk {
        override reset({ seed = 0, level }: ResetOptions) {
          return super.reset({ seed: level === undefined ? seed : seed + 1 });
        }
      })(),
    "levels",
    /ignores level/,
  ],
  [
    "a view that changes by itself",
    () =>
      new (class extends Walk {
        override render() {
          return `${super.render()}${this.steps === 0 ? "" : draws++}`;
        }
        override reset(options: ResetOptions) {
          void super.reset(options);
          return super.render();
        }
      })(),
    "views",
    /another text each time, level seed \d+, after a step/,
  ],
  [
    "an action that parseAction does not read",
    () => Object.assign(new Walk(), { parseAction: (text: string) => (text === "left" ? "Left" : null) }),
    "interface",
    /parseAction\("Left"\) gives null/,
  ],
  [
    "a parseAction that throws",
    () => Object.assign(new Walk(), { parseAction: (text: string) => JSON.parse(text) }),
    "interface",
    /parseAction\(""\) threw: Unexpected end/,
  ],
  [
    "actions that no answer holds",
    () => Object.assign(new Walk(), { actions: ["Go || Go"] }),
    "interface",
    /no answer/,
  ],
  [
    "a restore that throws",
    () =>
      Object.assign(new Walk(), {
        restore: () => {
          throw new Error("not supported");
        },
      }),
    "state",
    /restore\(\) threw: not supported/,
  ],
];

/** What a run goes on with, with a warning. */
const borne: [what: string, make: () => Environment, check: string, says: RegExp][] = [
  [
    "steps that slip as they like",
    () =>
      new (class extends Walk {
        override step(action: string) {
          return super.step(slips.chance(0.4) ? "Left" : action);
        }
      })(),
    "steps",
    /different ends: level seed \d+, step \d+/,
  ],
  [
    "a state that lacks a part",
    () => Object.assign(new Walk(), { state: () => ({ at: 2 }) }),
    "state",
    /is not where/,
  ],
  [
    "a level that the seed overrules",
    () =>
      new (class extends Walk {
        override reset({ seed, level }: ResetOptions) {
          return super.reset(seed === undefined ? { level: level ?? "" } : { seed });
        }
      })(),
    "levels",
    /ignores level/,
  ],
  [
    "a step that fails on an odd text",
    () =>
      new (class extends Walk {
        override step(action: string) {
          if (!ACTIONS.includes(action)) throw new Error("no move");
          return super.step(action);
        }
      })(),
    "odd actions",
    /step\(""\) threw: no move/,
  ],
];

describe("the quick part", () => {
  it.each(refused)("refuses %s", async (_, make, __, says) => {
    const error = await rejection(quick(make));
    expect(error).toMatchObject({ code: "BAD_ENVIRONMENT", message: expect.stringMatching(says) });
    expect(error.message).not.toBe("");
    expect(error.hint).toBeTruthy();
  });

  it.each(borne)("goes on with %s, and says so", async (_, make, check, says) => {
    const notes: string[] = [];
    await quick(make, notes);
    expect(notes).toEqual([expect.stringMatching(says)]);
    expect(notes[0]).toContain(check);
  });

  it("says nothing of an environment that is right, and closes what it made", async () => {
    const made: Walk[] = [];
    const notes: string[] = [];
    await quick(() => {
      made.push(new Walk());
      return made[made.length - 1];
    }, notes);
    expect(notes).toEqual([]);
    expect(made.map(({ closed }) => closed)).toEqual([1, 1]);
  });

  it("waits for environments that answer later", async () => {
    const later = () =>
      new (class extends Walk {
        override async reset(options: ResetOptions) {
          await null;
          return super.reset(options);
        }
      })();
    const notes: string[] = [];
    await quick(later, notes);
    expect(notes).toEqual([]);
  });
});

describe("the whole check", () => {
  it.each([...refused.slice(1), ...borne])("finds %s", async (_, make, check, says) => {
    const wrong = (await findings(make)).filter(({ verdict }) => verdict === "fault");
    expect(wrong).toContainEqual(expect.objectContaining({ check, found: expect.stringMatching(says) }));
  });

  it.each(builtIn)("finds nothing wrong with %s", async (name) => {
    const found = await findings(() => createEnvironment(name), {
      protocol: { maxNewTokens: 250, maxTokens: 2000 },
    });
    expect(found.filter(({ verdict }) => verdict === "fault")).toEqual([]);
    expect(found.map(({ check }) => check)).toEqual([
      "interface",
      "seeds",
      "levels",
      "steps",
      "views",
      "odd actions",
      "two at once",
      "state",
      "random episodes",
      "distinct levels",
      "random policy",
      "lengths",
      "speed",
    ]);
  });

  it("says how random play does, how many levels there are, and how long texts get; the same each time", async () => {
    const found = await findings(() => new Walk());
    const of = (check: string) => found.find((finding) => finding.check === check);
    expect(of("random episodes")).toMatchObject({
      verdict: "ok",
      found: expect.stringContaining("200 played"),
    });
    expect(of("distinct levels")).toMatchObject({ verdict: "note", found: "6 of 200 seeds' levels differ" });
    expect(of("random policy")?.found).toMatch(
      /^Pass@1 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\], mean reward 0\.\d{3}$/,
    );
    expect(of("lengths")?.found).toMatch(
      /^first prompt up to \d+ tokens, .* \(of 100\), episode \d+ \(of 400\)$/,
    );
    const again = await findings(() => new Walk());
    expect(again.filter(({ check }) => check !== "speed")).toEqual(
      found.filter(({ check }) => check !== "speed"),
    );
  });

  it("says when no reply can find room, and when success is always or never there", async () => {
    const tight = await findings(() => new Walk(), { protocol: { maxNewTokens: 395, maxTokens: 400 } });
    expect(tight.find(({ check }) => check === "lengths")).toMatchObject({ verdict: "fault" });
    const never = () => Object.assign(new Walk(), { actions: ["Left"] });
    expect((await findings(never)).find(({ check }) => check === "random policy")).toMatchObject({
      verdict: "note",
      found: "Pass@1 0.000 [0.000, 0.000], mean reward 0.000",
    });
  });
});
