import { expect, test } from "vitest";
import {
  LevelStarts,
  noteHeldStarts,
  withoutHeldStates,
  writtenStates,
} from "../../lib/stages/held-states.ts";
import { errorOf } from "../thrown-error.ts";
import { tinyConfig, watchingProgress } from "./tiny-run.ts";

const levels = ["P_\n_G", "_P\n_G", "P__\n___\n__G", "_P\n_G"].map((grid) => ({ grid }));

const starts = new LevelStarts(levels);

test("levels that begin in a state, with coordinates or without, each by its place", () => {
  expect(starts.among([])).toEqual([]);
  expect(starts.among(["P_\nG_", "P_"])).toEqual([]);
  expect(starts.among(["_P\n_G", " _P\n_G\nPlayer (P) at (0,1).\n"])).toEqual([1, 3]);
  expect(starts.among(["P__\n___\n__G\nPlayer (P) at (0,0).", "P_\n_G"])).toEqual([0, 2]);
});

test("the user is told of them, with their count", () => {
  const notes: string[] = [];
  const progress = { ...watchingProgress(() => {}), note: (text: string) => notes.push(text) };
  const test = levels.map((level, seed) => ({ ...level, seed, distance: null }));
  const context = { progress, split: { test, tuning: [], held: new Set<string>() } };
  expect(noteHeldStarts(context, "spa/self-play", ["P_\nG_"])).toEqual([]);
  expect(noteHeldStarts(context, "spa/self-play", ["_P\n_G"])).toEqual([1, 3]);
  expect(notes).toEqual([
    expect.stringMatching(/^warning: 2 of 4 test levels begin in states that occur in spa\/self-play's/),
  ]);
});

test("the states of replies", () => {
  const reply =
    "<think><observation>P_\n_G</observation>I go.<prediction>_P\n_G</prediction></think><answer>Right</answer>";
  const states = [...writtenStates([reply, "<answer>Up</answer>"])];
  expect(states).toEqual(["P_\n_G", "_P\n_G"]);
  expect(starts.among(states)).toEqual([0, 1, 3]);
});

test("trajectories with such states are left out as a whole, if asked for", () => {
  const notes: string[] = [];
  const progress = { ...watchingProgress(() => {}), note: (text: string) => notes.push(text) };
  const [test, tuning] = [levels.slice(0, 2), levels.slice(2)].map((some) =>
    some.map((level, seed) => ({ ...level, seed, distance: null })),
  );
  const items = [
    { trajectory: 0, states: ["__\nPG"] },
    { trajectory: 0, states: ["P_\n_G"] },
    { trajectory: 1, states: ["__\nPG", "G_\nP_"] },
    { trajectory: 2, states: ["P__\n___\n__G"] },
  ];
  const keep = (excludeHeldStates: boolean, some = items) =>
    withoutHeldStates(
      {
        config: tinyConfig({ sft: { excludeHeldStates } }),
        progress,
        split: { test, tuning, held: new Set() },
      },
      "spa/sft",
      some,
      ({ states }) => states,
      ({ trajectory }) => trajectory,
    );
  expect(keep(false)).toEqual(items);
  expect(notes).toEqual([]);
  expect(keep(true)).toEqual([items[2]]);
  expect(notes).toEqual([expect.stringMatching(/^2 trajectories of spa\/sft's data .*; they are left out$/)]);
  expect(errorOf(() => keep(true, items.slice(3)))).toMatchObject({ code: "BAD_CONFIG" });
});
